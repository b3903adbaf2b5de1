"""Whatever a person gets wrong: one message, exit code 2, and nothing left behind."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from moc.cli import main
from moc.export import export_set
from moc.study.store import read_study

STUDY = """
name = "new"
threads = 1
[data]
source = {source}
train = 100
validation = 40
test = 40
[objectives]
error = {{}}
robust_error = {{}}
{more}
"""
DIGITS = '"digits"'


def a_study(source=DIGITS, more=""):
    return lambda home: (home / "new.toml").write_text(STUDY.format(source=source, more=more))


def data(path):
    return f'{{ kind = "npz", path = "{path}" }}'


def an_objective_that_is_no_table(home):
    text = STUDY.format(source=DIGITS, more="").replace("error = {}", 'error = "ridge-risk"', 1)
    (home / "new.toml").write_text(text)


def broken_archive(home):
    np.savez(home / "a.npz", x=np.zeros((4, 4, 4), np.uint8), y=np.arange(4))
    raw = (home / "a.npz").read_bytes()
    (home / "a.npz").write_bytes(raw[: len(raw) // 2])
    a_study(data("a.npz"))(home)


def objects(home):
    np.savez(home / "a.npz", x=np.zeros((4, 4, 4), np.uint8), y=np.array(list("abab"), object))
    a_study(data("a.npz"))(home)


def damaged_array(home):
    np.savez(home / "a.npz", x=np.zeros((4, 4, 4), np.uint8), y=np.arange(4))
    with zipfile.ZipFile(home / "b.npz", "w") as file:
        file.writestr("x.npy", b"words")
        file.writestr("y.npy", b"words")
    a_study(data("b.npz"))(home)


def two_columns(home):
    (home / "t.csv").write_text("a,b\n1,2\n")


def an_export(home):
    export_set(read_study(home / "runs" / "tiny"), 0, home / "out")


def nothing(home):
    pass


NEW = ("study", "new.toml", "--no-mlflow")
DONE = ("tiny", "--no-mlflow")
TABLE = [
    # what is typed, what is wrong in the folder, the message
    (("study", "none.toml"), nothing, "There is no study file at none.toml"),
    (("study", "runs"), nothing, "There is no study file at runs"),
    (("study", "new.toml"), lambda p: (p / "new.toml").write_text("= ="), "not a TOML file"),
    (("study", "new.toml"), lambda p: (p / "new.toml").write_bytes(b"\xff"), "not a TOML file"),
    (("study", "new.toml"), lambda p: (p / "new.toml").write_text(""), "has faults"),
    (NEW, a_study(more="[search]\ntrails = 4"), r"search.trails: Extra inputs"),
    (NEW, a_study(more='[search]\nengine = "annealed"'), "'annealed'.*'sobol'"),
    (NEW, an_objective_that_is_no_table, "'ridge-risk'.*'error'"),
    (NEW, a_study('"ciphar"'), "'ciphar'.*'digits'"),
    ((*NEW, "--profile", "gpu"), a_study(), "has no profile 'gpu'; it has: none"),
    ((*NEW, "--seed", "-1"), a_study(), "seed"),
    (NEW, a_study(data("none.npz")), "expected at .*/none.npz, found no file"),
    (NEW, broken_archive, "a.npz cannot be read as an .npz file"),
    (NEW, objects, r"array y of .*a.npz holds Python objects"),
    (NEW, damaged_array, r"array x of .*b.npz cannot be read: it is damaged"),
    (NEW, lambda p: a_study()(p) and (p / "runs" / "new").write_text(""), "new: .*place"),
    ((*NEW, "--runs", "new.toml"), a_study(), "new.toml.*place"),
    (("front",), lambda p: shutil.rmtree(p / "runs"), "No study under runs"),
    (("front", "none"), nothing, "holds no study"),
    (("front", "none.toml"), nothing, "There is no study file at none.toml"),
    (("ledger", "none"), nothing, "holds no study"),
    (("choose", "none"), nothing, "holds no study"),
    (("choose", *DONE, "--error", "0"), nothing, "Closest comes"),
    (("choose", *DONE, "--error", "0", "--take", "1"), nothing, "Closest is trial-"),
    (("choose", *DONE, "--at", "7"), nothing, "7"),
    (("choose", *DONE, "--error", "30"), nothing, "share in"),
    (("choose", *DONE, "--limit", "size"), nothing, "NAME=VALUE expected"),
    (("choose", *DONE, "--limit", "size=3"), nothing, "size"),
    (("choose", *DONE, "--prefer", "beauty"), nothing, "beauty"),
    (("choose", *DONE, "--out", "full"), nothing, "An empty or new folder expected at full"),
    (("choose", *DONE, "--out", "full/a/b"), nothing, "expected at .*full/a"),
    (("export", "99", "out", "tiny"), nothing, "has trials 0 to 5, not 99"),
    (("export", "0", "full", "tiny"), nothing, "An empty or new folder expected at full"),
    (("export", "0", "full/a", "tiny"), nothing, "expected at .*full/a"),
    (
        ("export", "0", "out", "tiny"),
        lambda p: (p / "runs/tiny/sets/trial-000.safetensors").write_bytes(b"cut"),
        "is not a synthetic set stored by moc",
    ),
    (
        ("export", "0", "out", "tiny"),
        lambda p: (p / "runs/tiny/sets/trial-000.safetensors").unlink(),
        "found no file",
    ),
    (("audit", "none.toml"), nothing, "There is no study file at none.toml"),
    (("audit", "new.toml"), a_study(), "private"),
    (("ui", "none"), nothing, "holds no study"),
    (("inspect", "none"), nothing, "expected at none, found nothing"),
    (("inspect", "a.npz"), broken_archive, "moc does not know|cannot be read"),
    (("inspect", "t.csv"), two_columns, "a column 'label' expected, found a, b"),
    (("inspect", "b.npz", "--label", "a"), damaged_array, "--label names a column of a table"),
    (("inspect", "t.csv", "--label", "a", "--sheet", "no/s.png"), two_columns, "A folder to write"),
    (("compare", "tiny", "none"), nothing, "with its card.json, expected at tiny"),
    (("verify", "none"), nothing, "with its SHA256SUMS expected at none"),
    (("verify", "out", "--study", "none.toml"), an_export, "There is no study file at none.toml"),
    (("verify", "full"), nothing, "with its SHA256SUMS expected at full"),
]


def files(home):
    """Every file; locks are of no weight."""
    return {
        path: path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


@pytest.fixture
def home(tiny_open, tmp_path, monkeypatch):
    """A folder with a finished study, and a folder that is in use."""
    shutil.copytree(tiny_open.folder, tmp_path / "runs" / "tiny")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["moc", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2, said
    assert "Traceback" not in said.err
    begun, _, words = said.err.partition("moc: ")
    assert words
    assert begun in ("", "Study new in runs/new\n", "Study new in new.toml/new\n")
    return " ".join(words.split())


@pytest.mark.parametrize(
    ("typed", "wrong", "message"), TABLE, ids=[f"{k}-{row[0][0]}" for k, row in enumerate(TABLE)]
)
def test_a_sentence_and_nothing_left_behind(home, monkeypatch, capsys, typed, wrong, message):
    wrong(home)
    before = files(home)
    words = refused(typed, monkeypatch, capsys)
    assert re.search(message, words), words
    assert files(home) == before


def test_a_locked_study_is_left_to_whoever_runs_it(home, monkeypatch, capsys):
    a_study()(home)
    (home / "runs" / "new").mkdir()
    with (home / "runs" / "new" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = files(home)
        words = refused(NEW, monkeypatch, capsys)
    assert "Another process is running the study" in words
    assert files(home) == before


READ_ONLY = (
    ("choose", "tiny", "--no-mlflow", "--take", "1", "--no-confirm", "--out", "kept/out"),
    ("export", "0", "kept/out", "tiny"),
)


@pytest.mark.parametrize("typed", READ_ONLY)
def test_a_folder_that_cannot_be_written_to(home, monkeypatch, capsys, typed):
    kept = home / "kept"
    kept.mkdir(mode=0o555)
    if os.access(kept, os.W_OK):  # for root: nobody else may be asked to write there
        kept = Path("/sys")
        typed = tuple(word.replace("kept/", f"{kept}/") for word in typed)
    before = files(home)
    assert re.search("Name another", refused(typed, monkeypatch, capsys))
    assert files(home) == before


def test_a_full_disk(home, monkeypatch, capsys):
    from moc import export

    def full(*_, **__):
        raise OSError(28, "No space left on device", "out")

    monkeypatch.setattr(export, "write_for_strangers", full)
    before = files(home)
    words = refused(("export", "0", "out", "tiny"), monkeypatch, capsys)
    assert words == "out: No space left on device. Make room, and type the same again."
    assert files(home) == before


@pytest.mark.parametrize("command", ["study", "front", "export", "inspect", "compare", "beauty"])
def test_what_cannot_be_parsed_has_the_same_exit_code(monkeypatch, capsys, command):
    monkeypatch.setattr(sys, "argv", ["moc", command, "--no-such-option"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "Usage: moc" in capsys.readouterr().err
