"""Documents that are written from the code are those of this code."""

from pathlib import Path

from study_file import FAMILIES, document

DOCS = Path(__file__).parents[1] / "docs"


def test_the_study_file_is_described_as_it_is():
    written = (DOCS / "study-file.md").read_text(encoding="utf-8")
    assert written == document(), "run: python tests/study_file.py > docs/study-file.md"


def test_every_part_has_words_of_its_own():
    for family in FAMILIES.values():
        for kind, part in family.parts.items():
            assert part.__doc__, kind
