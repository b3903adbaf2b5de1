"""What a project that others pick up is expected to have, and that it names what exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import moc

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
PAGES += sorted((ROOT / "docs").glob("*.md"))


def test_one_version_is_said_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["version"] == moc.__version__ == citation["version"]
    assert f"## {moc.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_distribution_has_a_name_of_its_own():
    assert PROJECT["name"] == "moc-condensation"
    assert PROJECT["scripts"] == {"moc": "moc.cli:main"}
    assert (ROOT / "moc" / "py.typed").is_file()


def test_the_licence_is_the_one_that_is_declared():
    assert PROJECT["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


@pytest.mark.parametrize(
    "path", [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"], ids=str
)
def test_forms_and_hooks_can_be_read(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, place = target.partition("#")
        if "://" in target:
            continue
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name} names {target}"
        if place:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles]
            assert place in slugs, f"{page.name} names {target}"
