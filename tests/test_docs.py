"""Documents that are written from the code are those of this code."""

import re
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
