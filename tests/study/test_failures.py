"""A trial that fails is noted with its cause, told to no engine, and the study goes on."""

import math

import pytest
import torch
from ledgers import read_events
from tiny import TINY

from moc.errors import NotFiniteError, StudyError
from moc.evaluate.scores import Estimate
from moc.search.engines.base import Engine
from moc.study import lane
from moc.study.config import parse_config
from moc.study.jobs import Condense, CondenseCurves, Dial
from moc.study.measuring_jobs import Examine, Score
from moc.study.reporter import Silent
from moc.study.run import run_study
from moc.views.page import write_page

QUICK = {
    **TINY,
    "evaluate": {**TINY["evaluate"], "report_replicates": 0},
    "data": {**TINY["data"], "reference": 0},
    "search": {"trials": 4, "batch": 2, "engine": {"kind": "evolutionary", "population": 4}},
}


class Said(Silent):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def study_of(tables, folder):
    said = Said()
    return run_study(parse_config(tables, where="test"), folder, reporter=said), said.lines


@pytest.fixture
def told(monkeypatch):
    """Points that engines were told of."""
    found, tell = [], Engine.tell

    def listen(self, point, values, errors):
        found.append(dict(point))
        tell(self, point, values, errors)

    monkeypatch.setattr(Engine, "tell", listen)
    return found


def always(job):
    return True


def fail(monkeypatch, kind, where, error):
    """Let jobs of a kind fail where a condition holds."""
    run = kind.run

    def failing(self, context, progress, /):
        if where(self):
            raise error
        return run(self, context, progress)

    monkeypatch.setattr(kind, "run", failing)


@pytest.mark.parametrize(
    ("kind", "stage", "error", "cause"),
    [
        (Score, "scoring", torch.OutOfMemoryError("CUDA out of memory."), "smallest parts too"),
        (Score, "scoring", RuntimeError("DefaultCPUAllocator: can't allocate memory"), "smallest"),
        (Score, "scoring", MemoryError(), "smallest parts too"),
        (Dial, "condensing", NotFiniteError("a loss is not a number"), "a loss is not a number"),
    ],
)
def test_a_trial_that_fails_is_noted_and_told_to_no_engine(
    tmp_path, monkeypatch, told, kind, stage, error, cause
):
    wrong = {Score: lambda job: job.name == "trial-003", Dial: lambda job: 3 in job.numbers}
    fail(monkeypatch, kind, wrong[kind], error)
    study, said = study_of(QUICK, tmp_path / "study")
    failed = {one.number: one for one in study.failed}
    assert study.complete
    assert 3 in failed
    assert failed[3].stage == stage
    assert cause in failed[3].cause
    numbers = [trial.number for trial in study.trials]
    assert sorted([*numbers, *failed]) == list(range(6))
    assert told == [trial.point for trial in study.trials]
    assert any(line.startswith(f"trial-003 has failed in {stage}:") for line in said)
    assert write_page(study, tmp_path / "report.html").is_file()
    before = read_events(study.folder)
    assert study_of(QUICK, study.folder)[0] == study
    assert read_events(study.folder) == before


def test_a_score_that_is_not_a_number_is_a_failure(tmp_path, monkeypatch, told):
    found, calls = lane.estimates, []

    def estimates(rates, measures):
        made = found(rates, measures)
        calls.append(made)
        return made if len(calls) != 4 else {**made, "error": Estimate(mean=math.nan)}

    monkeypatch.setattr(lane, "estimates", estimates)
    study, _ = study_of(QUICK, tmp_path / "study")
    assert [one.cause for one in study.failed] == ["error came out infinite or not a number"]
    assert len(study.trials) == len(told) == 5
    assert "NaN" not in (study.folder / "study.jsonl").read_text()


def test_a_failed_trial_stays_one_when_the_study_goes_on(tmp_path, monkeypatch):
    with monkeypatch.context() as plant:
        fail(plant, Score, lambda job: job.name == "trial-002", NotFiniteError("nothing"))
        fail(plant, Score, lambda job: job.name == "trial-004", KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            study_of(QUICK, tmp_path / "study")
    study, _ = study_of(QUICK, tmp_path / "study")
    assert [one.number for one in study.failed] == [2]
    assert [trial.number for trial in study.trials] == [0, 1, 3, 4, 5]


def test_a_study_of_which_every_trial_fails_ends_in_a_sentence(tmp_path, monkeypatch):
    fail(monkeypatch, CondenseCurves, always, NotFiniteError("they exploded"))
    with pytest.raises(StudyError, match=r"Every trial has failed; trial-000.*they exploded"):
        study_of(QUICK, tmp_path / "study")


def test_without_its_anchors_a_study_of_single_sets_ends_in_a_sentence(tmp_path, monkeypatch):
    fail(monkeypatch, Condense, lambda job: 0 in job.numbers, NotFiniteError("it exploded"))
    apart = {**QUICK, "condense": {**TINY["condense"], "front": "apart"}}
    with pytest.raises(StudyError, match=r"trial-000 is an anchor.*exploded.*another name"):
        study_of(apart, tmp_path / "study")


def test_what_fails_at_the_end_is_left_out_and_said(tmp_path, monkeypatch):
    fail(monkeypatch, Examine, always, MemoryError())
    fail(
        monkeypatch,
        Score,
        lambda job: job.records == "test" or job.name == "random",
        MemoryError(),
    )
    study, said = study_of({**TINY, "search": QUICK["search"]}, tmp_path / "study")
    assert study.complete
    assert not study.curves
    assert {one.name for one in study.baselines} == set()
    assert all(trial.report is None for trial in study.trials)
    assert sum(line.startswith("Left out: ") for line in said) > 3


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("condense", "Every trial has failed.*without overflow"),
        ("teacher", "A robust teacher diverged"),
    ],
)
def test_what_explodes_is_found_out(tmp_path, table, words):
    lr = {"condense": 1e38, "teacher": 1e30}[table]
    robust = {**TINY["objectives"]["robust_error"]["adversarial"], "targets": "teachers"}
    objectives = {"error": {}, "robust_error": {"adversarial": robust}}
    tables = {**QUICK, "objectives": objectives, table: {**TINY[table], "lr": lr}}
    with pytest.raises(StudyError, match=words):
        study_of(tables, tmp_path / "study")
