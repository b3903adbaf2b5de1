"""The code blocks of every page: tables are valid, commands take these options, or run."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import typer
from tiny import PRIVATE
from typer.testing import CliRunner

from moc.cli import app
from moc.study.config import load_config, merge, parse_config

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
BLOCKS = [
    (page.name, number, language, text)
    for page in PAGES
    for number, (language, text) in enumerate(
        re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    )
]
STUDY = {
    "name": "page",
    "data": {"source": "digits", "validation": 300, "test": 300},
}
"""What a table of a page is laid over."""


def blocks(language):
    return [
        pytest.param(page, text, id=f"{page}-{number}")
        for page, number, found, text in BLOCKS
        if found == language
    ]


def commands():
    lines = chain.from_iterable(
        [(page, line) for line in text.splitlines()]
        for page, _, language, text in BLOCKS
        if language == "console"
    )
    return [
        pytest.param(shlex.split(line, comments=True), id=f"{page}: {line}")
        for page, line in lines
        if shlex.split(line, comments=True)
    ]


def test_every_block_says_what_it_is_in():
    assert {language for _, _, language, _ in BLOCKS} == {"python", "toml", "console", "text"}
    for page in PAGES:  # a block that is indented alone would be run by nobody
        plain = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        assert not re.search(r"\n\n    (moc|make|pip|\[|\w+ = )", plain), page


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_a_table_can_be_part_of_a_study(page, text, tmp_path):
    tables = tomllib.loads(text)
    if "project" in tables or page == "extend.md":  # tests/test_house.py runs those parts
        return
    if "name" in tables:
        (tmp_path / "study.toml").write_text(text)
        assert load_config(tmp_path / "study.toml").name == tables["name"]
        return
    for one in [tables, *tables.pop("profile", {}).values()]:
        parse_config(merge(STUDY, one), where=page)


@pytest.mark.parametrize("words", commands())
def test_a_command_exists_and_takes_these_options(words):
    program, *rest = words
    if program.endswith("moc"):
        command = typer.main.get_command(app).commands[rest[0]]
        command.make_context(rest[0], rest[1:]).close()
    elif program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert rest[0] in targets
    elif program in ("python", "pip"):
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        for extra in re.findall(r"\[(\w+)\]", " ".join(rest)):
            assert extra in extras["optional-dependencies"]
        for name in (word for word in rest if word.endswith((".py", ".txt"))):
            assert (ROOT / name).is_file()
    else:
        assert program == "open", words


# Commands on a study


@pytest.fixture
def reader(shared_study, tmp_path, monkeypatch):
    """The folder of somebody who reads the pages, with a finished study called digits."""
    objectives = {**PRIVATE["objectives"], "epsilon": {}, "stored_bytes": {}}
    privacy = {"epsilons": [8.0, 4.0]}
    study = shared_study(
        {**PRIVATE, "name": "digits", "objectives": objectives, "privacy": privacy}
    )
    shutil.copytree(study.folder, tmp_path / "runs" / "digits")
    np.savez(tmp_path / "PATH", x=np.eye(40).reshape(40, 5, 8), y=np.arange(40) % 2)
    (tmp_path / "PATH.npz").rename(tmp_path / "PATH")
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUNNABLE = [
    one for one in commands() if one.values[0][:2] in (["moc", "choose"], ["moc", "inspect"])
]


@pytest.mark.parametrize("words", RUNNABLE)
def test_a_command_does_what_the_page_says(reader, words):
    typed = re.sub(r"--robust-error \S+", "--robust-error 1", " ".join(words[1:]))
    typed = typed.replace("--take 2", "--take 1")  # it is a tiny study
    if words[1] == "choose":
        typed += f" --no-confirm --no-mlflow --out {reader / 'out'}"
    done = CliRunner().invoke(app, shlex.split(typed), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    wanted = reader / ("sheet.png" if words[1] == "inspect" else "out/card.json")
    assert wanted.is_file()
