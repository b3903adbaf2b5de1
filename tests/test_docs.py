"""Documents that are written from the code are those of this code."""

import re
import shutil
from pathlib import Path

import pytest
from study_file import FAMILIES, document

DOCS = Path(__file__).parents[1] / "docs"


def test_the_study_file_is_described_as_it_is():
    written = (DOCS / "study-file.md").read_text(encoding="utf-8")
    assert written == document(), "run: python tests/study_file.py > docs/study-file.md"


def test_every_part_has_words_of_its_own():
    for family in FAMILIES.values():
        for kind, part in family.parts.items():
            assert part.__doc__, kind


NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (DOCS / "privacy.md").read_text("utf-8"))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name or file for file, name in NAMED])
def test_every_test_that_the_page_on_privacy_names_exists(file, name):
    path = DOCS.parent / file
    assert path.is_file()
    assert not name or f"\ndef {name}(" in path.read_text(encoding="utf-8")


def test_the_page_on_privacy_names_tests():
    assert len(NAMED) > 25


@pytest.mark.parametrize("page", ["your-data", "choose", "robustness", "framework"])
def test_the_python_of_a_page_runs_as_it_stands(page, tiny_private, tmp_path, monkeypatch, capsys):
    """On a finished study called digits, in the folder of the reader."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    shutil.copytree(tiny_private.folder, tmp_path / "runs" / "digits")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, f"{page}.md", "exec"), names)
    assert blocks
    assert capsys.readouterr().out
