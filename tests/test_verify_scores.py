"""`moc verify` measures a card's scores again, where the records may be shown and are at hand."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tiny import TINY
from typer.testing import CliRunner

from moc.cli import app
from moc.export import export_set
from moc.study.config import parse_config
from moc.study.run import run_study
from moc.views.handover import write_sums

AGAIN = "Every score was measured again within 3 standard errors."


def verify(*arguments):
    words = [str(word) for word in ("verify", *arguments)]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def handed_on(tiny_private, tmp_path, monkeypatch):
    """An export, for somebody who has nothing else."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return export_set(tiny_private, tiny_private.front[0], tmp_path / "out")


def test_scores_on_public_records_are_measured_again(handed_on, tmp_path):
    ledger = Path(os.environ["MOC_LEDGER"])
    before = ledger.read_bytes()
    code, words = verify(handed_on)
    assert code == 0
    assert AGAIN in words
    for line in ("clean error, validation:", "robust error, validation:", "clean error, test:"):
        assert line in words
    assert ledger.read_bytes() == before
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_card_that_promises_too_much_is_found_out(handed_on):
    card = json.loads((handed_on / "card.json").read_text())
    card["scores"]["test"]["error"] = [0.01, 0.01]
    (handed_on / "card.json").write_text(json.dumps(card))
    write_sums(handed_on)
    code, words = verify(handed_on)
    assert code == 1
    assert "clean error, test: 1.0 ± 1.0 % on the card" in words
    assert words.count("MORE THAN 3 STANDARD ERRORS APART") == 1
    assert "is not worth what its card says" in words


def test_changed_files_are_not_worth_a_measurement(handed_on):
    (handed_on / "load.py").write_text("")
    code, words = verify(handed_on)
    assert code == 1
    assert "load.py was changed" in words
    assert "again" not in words


def test_the_hashes_alone_are_enough_for_some(handed_on):
    code, words = verify(handed_on, "--no-scores")
    assert code == 0
    assert "again" not in words


@pytest.fixture
def own_file(tmp_path):
    """A finished study of a file of one's own, and its study file."""
    x, y = load_digits(return_X_y=True)
    np.savez(tmp_path / "own.npz", x=(x.reshape(-1, 8, 8) / 16)[:500], y=y[:500])
    data = {**TINY["data"], "source": {"kind": "npz", "path": str(tmp_path / "own.npz")}}
    data |= {"train": 200}
    search = {"trials": 1, "batch": 1, "engine": "sobol"}
    config = parse_config({**TINY, "name": "own", "data": data, "search": search}, where="test")
    (tmp_path / "own.toml").write_text(
        "name = 'own'\n[data]\nvalidation = 60\ntest = 60\n"
        "source = { kind = 'npz', path = 'own.npz' }\n"
    )
    return run_study(config, tmp_path / "runs" / "own")


def test_records_are_found_by_the_study_or_named(own_file, tmp_path, monkeypatch):
    folder = export_set(own_file, own_file.front[0], tmp_path / "out")
    assert AGAIN in verify(folder, "--runs", tmp_path / "runs")[1]
    monkeypatch.chdir(folder)
    code, words = verify(folder)
    assert code == 0
    assert "The scores were not measured again" in words
    assert "--study FILE" in words
    assert AGAIN in verify(folder, "--study", tmp_path / "own.toml")[1]
    shutil.move(tmp_path / "own.npz", tmp_path / "gone.npz")
    done = CliRunner().invoke(app, ["verify", str(folder), "--study", str(tmp_path / "own.toml")])
    assert "found no file" in str(done.exception)


def test_paid_scores_are_not_paid_for_again(handed_on):
    card = json.loads((handed_on / "card.json").read_text())
    card["settings"]["privacy"]["scoring"] = 0.2
    card["settings"]["data"]["public"] = []
    card["settings"]["data"]["reference"] = 0
    (handed_on / "card.json").write_text(json.dumps(card))
    write_sums(handed_on)
    code, words = verify(handed_on)
    assert code == 0
    assert "private, and scores on them were paid for: none can be had again" in words
