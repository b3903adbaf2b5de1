"""The commands beside those of a study, and how all of them speak."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import PRIVATE, write_study_file
from typer.testing import CliRunner

import moc
from moc import cli
from moc.cli import app
from moc.commands import doctor
from moc.errors import StudyError
from moc.export import export_set
from moc.study.reporter import Console, Json, Silent, reporter_for

runner = CliRunner()


def invoke(*arguments):
    return runner.invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def program(*arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", "moc.cli", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(moc.__file__).parents[1]), **environment},
        capture_output=True,
        check=False,
    )


@pytest.fixture
def runs(tiny_open, tmp_path):
    shutil.copytree(tiny_open.folder, tmp_path / "runs" / "tiny")
    return tmp_path / "runs"


# Speed and words


def test_help_is_there_at_once_and_loads_nothing_heavy():
    command = [sys.executable, "-X", "importtime", "-m", "moc.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert loaded.isdisjoint({"torch", "numpy", "pydantic", "pandas", "rich.console", "mlflow"})
    before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    for _ in range(3):
        subprocess.run([sys.executable, "-m", "moc.cli", "--help"], check=True, capture_output=True)
    spent = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before
    assert spent / 3 < 0.3  # of a processor, whoever else is at work


def test_the_version_is_that_of_the_package():
    assert invoke("--version").output == f"moc {moc.__version__}\n"


def spoken(*arguments, encoding, monkeypatch):
    """What a command writes to streams of this encoding, and its exit code."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["moc", *map(str, arguments)])
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            patch.setattr(sys, name, stream)
        with pytest.raises(SystemExit) as end:
            cli.main()
    streams[0].flush()
    return streams[0].buffer.getvalue().decode(encoding), end.value.code


def test_signs_that_a_stream_cannot_show_become_words(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    how = {"encoding": "ascii", "monkeypatch": monkeypatch}
    shown, code = spoken("front", "tiny", **how)
    assert code == 0
    assert "+-" in shown
    choice = ("--no-mlflow", "--error", "0.99", "--take", "1", "--no-confirm")
    shown, code = spoken("choose", "tiny", *choice, **how)
    assert code == 0
    assert "+-" in shown
    assert "clean error <= 99 %" in (runs / "tiny/policy/README.md").read_text().replace("≤", "<=")


def test_a_study_ends_well_where_signs_are_missing(tiny_private, tmp_path):
    shutil.copytree(tiny_private.folder, tmp_path / "runs" / PRIVATE["name"])
    write_study_file(PRIVATE, tmp_path / "study.toml")
    done = program(
        *("study", "study.toml", "--no-mlflow"),
        folder=tmp_path,
        PYTHONIOENCODING="ascii",
        LC_ALL="C",
        PYTHONUTF8="0",
    )
    assert done.returncode == 0, done.stderr
    assert "eps" in done.stdout.decode("ascii")


def test_epsilon_is_spelled_out(tiny_private, tmp_path, monkeypatch):
    shutil.copytree(tiny_private.folder, tmp_path / "runs" / "tiny")
    monkeypatch.chdir(tmp_path)
    text, code = spoken("front", "tiny", encoding="latin-1", monkeypatch=monkeypatch)
    assert code == 0
    assert "eps" in text
    assert "±" in text


# moc inspect


def test_inspect_says_that_it_is_not_accounted_and_draws_a_sheet(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.tile(["cat", "dog"], 12))
    done = invoke("inspect", tmp_path / "a.npz", "--sheet", tmp_path / "sheet.png")
    assert done.exit_code == 0
    words = " ".join(done.output.split())
    assert words.startswith("For the owner's eyes: this read every record as it is, outside any b")
    assert "cat: 12, dog: 12" in words
    assert str(tmp_path / "a.npz") in done.output.split("[data]")[1]
    assert Image.open(tmp_path / "sheet.png").size[0] > 60
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "sheet.png"}


# moc compare


def test_two_studies_side_by_side(runs):
    other = runs / "other"
    shutil.copytree(runs / "tiny", other)
    config = json.loads((other / "config.json").read_text())
    config["condense"]["steps"] = 9
    (other / "config.json").write_text(json.dumps(config))
    lines = (other / "study.jsonl").read_text().splitlines()
    scored = [k for k, line in enumerate(lines) if '"scored"' in line]
    (other / "study.jsonl").write_text("\n".join(lines[: scored[-1]]) + "\n")
    done = invoke("compare", "tiny", other, "--runs", runs, "--json")
    rows = {row["what"]: (row["a"], row["b"]) for row in json.loads(done.output)}
    assert rows["finished trials"] == ("6", "5")
    assert rows["condense.steps"] == ("4", "9")
    assert "lowest clean error found %" in rows
    assert "condense.images_per_class" not in rows
    assert "condense.steps" in invoke("compare", "tiny", other, "--runs", runs).output


def test_two_exported_sets_side_by_side(runs, tiny_open, tmp_path):
    first = export_set(tiny_open, 0, tmp_path / "a")
    second = export_set(tiny_open, 1, tmp_path / "b", format="npz")
    rows = {r["what"]: r for r in json.loads(invoke("compare", first, second, "--json").output)}
    assert rows["set"]["a"] == "tiny trial-000"
    assert rows["privacy"]["b"] == "none"
    error = 100 * tiny_open.trials[1].scores["error"].mean
    assert rows["clean error, validation %"]["b"].startswith(f"{error:.1f}")
    again = export_set(tiny_open, 0, tmp_path / "c")
    rows = {r["what"]: r for r in json.loads(invoke("compare", first, again, "--json").output)}
    assert "(the same bytes)" in rows["file"]["b"]


# moc verify


def test_an_export_is_verified_by_its_hashes(tiny_open, tmp_path):
    folder = export_set(tiny_open, 0, tmp_path / "a")
    assert "is as it was written" in invoke("verify", folder).output
    sums = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=False)
    assert sums.returncode == 0
    (folder / "set.safetensors").write_bytes(b"words")
    done = invoke("verify", folder)
    assert done.exit_code == 1
    assert "set.safetensors was changed" in done.output
    assert "is not a synthetic set" in done.output


def test_a_study_is_verified_by_reading_all_of_it(runs):
    whole = invoke("verify", "tiny", "--runs", runs).output
    assert "sets and 1 curve by their checksums, complete" in whole
    (runs / "tiny" / "sets" / "trial-001.safetensors").unlink()
    done = invoke("verify", "tiny", "--runs", runs)
    assert done.exit_code == 1
    assert "trial-001.safetensors, found no file" in done.output


# moc doctor


def test_the_doctor_says_what_is_there_and_what_to_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(doctor._PACKAGES, "no-such-package", "dreams")
    done = invoke("doctor")
    assert done.exit_code == 1
    assert "MISSING  no-such-package, for dreams: type pip install" in done.output
    for words in ("Python 3.", "torch 2.", "processor cores", "GB free", "MLflow keeps runs in"):
        assert words in done.output
    monkeypatch.delitem(doctor._PACKAGES, "no-such-package")
    monkeypatch.setitem(doctor._EXTRAS, "no-such-extra", "nightmares")
    assert "no no-such-extra; needed only for nightmares: pip install" in invoke("doctor").output
    assert invoke("doctor").exit_code == 0


# moc choose, after MLflow was out of reach


def test_a_choice_is_finished_once_mlflow_answers(runs, tmp_path, monkeypatch):
    typed = ("choose", "tiny", "--runs", runs, "--out", tmp_path / "out", "--no-confirm")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")

    def locked(*_, **__):
        from mlflow.exceptions import MlflowException

        raise MlflowException("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr("moc.views.mlflow._sync", locked)
        first = runner.invoke(app, [str(word) for word in typed])
    assert isinstance(first.exception, StudyError)
    assert "(database is locked). The set is exported; the same command" in str(first.exception)
    assert "alias 'policy'" in invoke(*typed).output


# Progress


def test_options_choose_who_tells_of_progress():
    assert isinstance(reporter_for(quiet=False, as_json=False), Console)
    assert isinstance(reporter_for(quiet=False, as_json=True), Json)
    assert isinstance(reporter_for(quiet=True, as_json=True), Silent)


@pytest.fixture
def clock(monkeypatch):
    """Ten seconds pass whenever somebody looks."""
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr("moc.study.reporter.time.monotonic", lambda: float(next(now)))


def test_without_a_terminal_a_line_every_few_seconds_tells_rate_and_time_left(capsys, clock):
    reporter = Console()
    with reporter.stage("condensing") as progress:
        progress(5, 25)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "  condensing"
    assert lines[1].startswith("  condensing: 5 of 25, 0.")
    assert lines[1].endswith("s left")


def test_nothing_is_repeated_within_a_few_seconds(capsys):
    with Console().stage("condensing") as progress:
        for k in range(100):
            progress(k, 100)
    assert capsys.readouterr().err.splitlines() == ["  condensing"]


def test_progress_for_programs_is_an_object_a_line(capsys, clock):
    reporter = Json()
    reporter.say("Study [bold]x[/bold] in runs")
    with reporter.stage("condensing") as progress:
        progress(5, 25)
    rows = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert rows[0] == {"say": "Study x in runs"}
    assert rows[2] == {"stage": "condensing", "done": 5, "total": 25}
    assert rows[3]["finished"]
