"""The house: a part is one file, found in its folder or by an entry point, and edits nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
FILES = dict(
    re.findall(r"^`(moc/\S+\.py)`\n\n```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)
ENTRY_POINTS = {
    "moc.discrepancies": ("mmd", "Mmd"),
    "moc.objectives": ("top_two_error", "TopTwoError"),
    "moc.sources": ("csv", "Csv"),
    "moc.engines": ("annealed", "Annealed"),
    "moc.executors": ("threads", "Threads"),
}
STUDY = """
name = "extended"
threads = 1
[data]
train = 200
reference = 60
validation = 60
test = 60
[data.source]
kind = "csv"
path = "{path}"
label = "outcome"
[objectives.error.discrepancy]
kind = "mmd"
bandwidth = 0.4
[objectives.robust_error]
[objectives.top_two_error]
[condense]
images_per_class = 2
steps = 5
[evaluate]
replicates = 1
report_replicates = 0
[evaluate.protocol]
kind = "fast"
epochs = 10
[search]
trials = 4
batch = 2
[search.engine]
kind = "annealed"
step = 0.3
[executor]
kind = "threads"
count = 2
"""


@pytest.fixture
def study_file(tmp_path):
    """A study of a table, which uses all five parts."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    x = np.clip(0.25 * y[:, None] + 0.1 * rng.standard_normal((400, 4)) + 0.2, 0, 1)
    lines = ["a,b,c,d,outcome"]
    lines += [",".join([*(f"{v:.4f}" for v in row), "rst"[k]]) for row, k in zip(x, y, strict=True)]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines))
    path = tmp_path / "extended.toml"
    path.write_text(STUDY.format(path=table))
    return path


PROGRAM = """
import json, sys
from typer.testing import CliRunner
from moc.cli import app
done = [CliRunner().invoke(app, words, catch_exceptions=False) for words in json.loads(sys.argv[1])]
print(json.dumps([[one.exit_code, one.stdout] for one in done]))
"""


def moc(*commands, path, folder):
    """Exit codes and output of command lines, in one process of the moc that `path` leads to."""
    places = os.pathsep.join([str(path), str(ROOT)])
    words = json.dumps([[str(one) for one in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_the_page_has_one_file_for_each_of_five_kinds_of_part():
    assert len(FILES) == len(ENTRY_POINTS) == 5
    assert not [path for path in FILES if (ROOT / path).exists()]


def test_five_files_by_entry_points_make_a_study(study_file, tmp_path):
    """An unchanged moc, and a package of somebody else's beside it."""
    theirs = tmp_path / "site"
    package, info = theirs / "their_parts", theirs / "their_parts-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text("")
    for path, text in FILES.items():
        (package / f"their_{Path(path).name}").write_text(text)
    points = [
        f"[{group}]\n{module} = their_parts.their_{module}:{name}\n"
        for group, (module, name) in ENTRY_POINTS.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(points))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-parts\nVersion: 1.0\n")
    out, limit = tmp_path / "chosen", "top-two-error=1"
    choice = ("--limit", limit, "--prefer", "top_two_error", "--no-confirm", "--no-mlflow")
    (studied, shown), (_, rows), (chosen, _) = moc(
        ("study", study_file, "--no-mlflow"),
        ("front", "extended", "--output", "json"),
        ("choose", "extended", *choice, "--out", out),
        path=theirs,
        folder=tmp_path,
    )
    assert studied == chosen == 0
    assert "top-two" in shown
    assert all(0 <= row["top_two_error"] <= row["error"] for row in json.loads(rows))
    assert "top-two error %" in (out / "README.md").read_text()


def test_five_files_in_their_folders_are_found_and_no_other_file_changes(study_file, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "moc", copy / "moc", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in FILES.items():
        (copy / path).write_text(text)
    program = (
        "import moc.study.config as c, pathlib, sys;"
        "config = c.load_config(pathlib.Path(sys.argv[1]));"
        "print(c.__file__, config.discrepancy, config.search.engine, config.executor,"
        " config.data.source.label, *config.objectives)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(study_file)],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith(str(copy))
    for words in ("bandwidth=0.4", "step=0.3", "count=2", "outcome", "top_two_error"):
        assert words in done.stdout
