"""Membership inference on a study: halves of its records, by its own release and protocol."""

from __future__ import annotations

import math
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from moc.cli import app
from moc.evidence import Ledger
from moc.evidence.membership import WARNING
from moc.study import membership as membership_module
from moc.study.config import parse_config
from moc.study.membership import audit_membership
from moc.study.reporter import Reporter

TINY = {
    "name": "tiny",
    "threads": 1,
    "data": {"source": "digits", "train": 120, "validation": 20, "test": 20},
    "privacy": {"epsilons": [8.0, 2.0], "networks": 2},
    "bank": {"networks": ["convnet2-w8"]},
    "condense": {"per_class": 1, "steps": 3},
    "evaluate": {"replicates": 1, "report_replicates": 0},
}
OPEN = {key: value for key, value in TINY.items() if key != "privacy"}


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

    monkeypatch.setattr(membership_module, "Ledger", remember)
    return made


def test_every_repetition_pays_for_its_own_release(ledgers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = Told()
    report = audit_membership(parse_config(TINY, where="test"), runs=4, reporter=told)
    assert (report.runs, report.records, report.delta) == (4, 120, 1e-5)
    assert report.passed
    assert 7.9 < report.claimed <= 8.0
    assert len(ledgers) == 4
    for ledger in ledgers:
        assert [access.key for access in ledger.accesses] == ["release/clean"]
        assert ledger.info("train").count == 60
        assert ledger.epsilon() == pytest.approx(report.claimed)
    assert told.lines[0] == WARNING, "whoever runs it is told first"
    assert told.lines[2:] == [(done, 4) for done in range(1, 5)]
    assert list(tmp_path.iterdir()) == [], "nothing of T is left on the disk"


def test_an_open_study_claims_nothing_and_can_be_attacked_too(ledgers):
    report = audit_membership(parse_config(OPEN, where="test"), runs=4)
    assert report.claimed == math.inf
    assert report.passed
    assert all(ledger.budget is None for ledger in ledgers)


def test_the_command_warns_and_reports(tmp_path):
    path = tmp_path / "tiny.toml"
    lines = ['name = "tiny"', "threads = 1"]
    for table in ("data", "privacy", "bank", "condense", "evaluate"):
        lines += [f"[{table}]", *(f"{k} = {v!r}" for k, v in TINY[table].items())]
    path.write_text("\n".join(lines))
    result = CliRunner().invoke(app, ["audit", str(path), "--membership", "--runs", "4"])
    assert result.exit_code == 0, result.output
    for words in ("This audit shows records of T", "LiRA: AUC", "RMIA: AUC", "(claimed: 8)"):
        assert words in result.output
    result = CliRunner().invoke(app, ["audit", str(path), "--membership", "--runs", "3"])
    assert result.exit_code == 2
