"""Membership inference on a study: halves of its records, by its own release and protocol."""

from __future__ import annotations

import math
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from moc.audit import repeat as repeat_module
from moc.audit.membership import WARNING
from moc.audit.repeat import audit_membership
from moc.cli import app
from moc.privacy.ledger import Ledger
from moc.study.config import parse_config
from moc.study.reporter import Reporter

TINY = {
    "name": "tiny",
    "threads": 1,
    "data": {
        "source": "digits",
        "train": 120,
        "validation": 20,
        "test": 20,
        "public": ["validation", "test"],
    },
    "privacy": {"epsilons": [8.0, 2.0]},
    "rounds": [{"networks": ["convnet2-w8"], "count": 2}],
    "evidence": {"kind": "proxy", "images_per_class": 2, "steps": 2},
    "condense": {"images_per_class": 1, "steps": 3},
    "evaluate": {
        "protocol": {"kind": "fast", "network": "convnet2-w8", "epochs": 5},
        "replicates": 1,
        "report_replicates": 0,
    },
}
OPEN = {key: TINY[key] for key in ("name", "threads", "data", "condense", "evaluate")}


class Told(Reporter):
    """Remembers what it is told, and in which order."""

    def __init__(self) -> None:
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    @contextmanager
    def stage(self, title):
        self.lines.append(title)
        yield lambda done, total: self.lines.append((done, total))


@pytest.fixture
def ledgers(monkeypatch):
    """Every ledger that a repetition makes."""
    made = []

    def remember(*arguments, **options):
        made.append(Ledger(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(repeat_module, "Ledger", remember)
    return made


def test_every_repetition_pays_for_its_own_release(ledgers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = Told()
    report = audit_membership(parse_config(TINY, where="test"), runs=4, reporter=told)
    assert "120 records in 4 runs" in report.details
    assert report.passed
    assert 7.9 < report.values["claimed_epsilon"] <= 8.0
    assert len(ledgers) == 4
    for ledger in ledgers:
        assert [access.key for access in ledger.accesses] == ["release/0"]
        assert ledger.info("train").count == 60
        assert ledger.epsilon() == pytest.approx(report.values["claimed_epsilon"])
    assert told.lines[0] == WARNING, "whoever runs it is told first"
    assert told.lines[2:] == [(done, 4) for done in range(1, 5)]
    assert list(tmp_path.iterdir()) == [], "nothing of T is left on the disk"


def test_an_open_study_claims_nothing_and_can_be_attacked_too(ledgers):
    report = audit_membership(parse_config(OPEN, where="test"), runs=4)
    assert report.values["claimed_epsilon"] == math.inf
    assert report.passed
    assert all(ledger.budget is None for ledger in ledgers)


def test_the_command_warns_and_reports(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(
        'name = "tiny"\nthreads = 1\n'
        '[data]\nsource = "digits"\ntrain = 120\nvalidation = 20\ntest = 20\n'
        'public = ["validation", "test"]\n'
        "[privacy]\nepsilons = [8.0, 2.0]\n"
        '[[rounds]]\nnetworks = ["convnet2-w8"]\ncount = 2\n'
        '[evidence]\nkind = "proxy"\nimages_per_class = 2\nsteps = 2\n'
        "[condense]\nimages_per_class = 1\nsteps = 3\n"
        "[evaluate]\nreplicates = 1\nreport_replicates = 0\n"
        '[evaluate.protocol]\nkind = "fast"\nnetwork = "convnet2-w8"\nepochs = 5\n'
    )
    result = CliRunner().invoke(app, ["audit", str(path), "--membership", "--runs", "4"])
    assert result.exit_code == 0, result.output
    for words in ("This audit shows records of T", "LiRA: AUC", "RMIA: AUC", "(claimed: 8)"):
        assert words in result.output
    result = CliRunner().invoke(app, ["audit", str(path), "--membership", "--runs", "3"])
    assert result.exit_code == 2
