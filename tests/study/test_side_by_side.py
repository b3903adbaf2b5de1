"""On a GPU the sets of a batch are scored side by side: the same scores, and no shared fate."""

from __future__ import annotations

import pytest
from ledgers import read_events
from tiny import TINY, unreported

from moc.errors import NotFiniteError
from moc.study import measuring_jobs as jobs
from moc.study.config import parse_config
from moc.study.lane import Lane
from moc.study.reporter import Silent
from moc.study.run import run_study


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.fixture
def stacks(monkeypatch):
    """Let a CPU do as a GPU does."""
    for module in ("moc.evaluate.together", "moc.evaluate.trained", "moc.study.worklist"):
        monkeypatch.setattr(f"{module}.stacks_pay", lambda _: True)


@pytest.fixture
def joined(monkeypatch):
    """Names of the sets of every job that scores several."""
    found, run = [], jobs.SideBySide.run

    def noted(self, context, progress, /):
        found.append([job.name for job in self.jobs])
        return run(self, context, progress)

    monkeypatch.setattr(jobs.SideBySide, "run", noted)
    return found


def run(folder, reporter=None, tables=unreported(TINY)):  # noqa: B008 - read only
    return run_study(parse_config(tables, where="test"), folder, reporter=reporter)


def assert_same(study, apart):
    """Equal scores, but for a record on a border that rounding carries over it."""
    assert len(study.trials) == len(apart.trials)
    for own, other in zip(study.trials, apart.trials, strict=True):
        for name, one in own.scores.items():
            assert one.mean == pytest.approx(other.scores[name].mean, abs=1.5 / 60)


@pytest.mark.usefixtures("stacks")
def test_a_batch_is_measured_at_once_and_comes_out_as_one_by_one(
    tmp_path, tiny_open, joined, monkeypatch
):
    closer, together = [], jobs._run

    def noted(own, context):
        closer.extend(job for job in own if len(own) > 1 and isinstance(job, jobs.Examine))
        return together(own, context)

    monkeypatch.setattr(jobs, "_run", noted)
    study = run(tmp_path / "study", tables=TINY)
    assert joined[0] == ["trial-000", "trial-001"]
    assert any("random" in names for names in joined)
    assert {job.name for job in closer} >= {"random", "herding"}
    before = {curve.name: curve for curve in tiny_open.curves}
    for own in study.curves:
        means = [one.mean for one in own.errors]
        expected = [one.mean for one in before[own.name].errors]
        assert means == pytest.approx(expected, abs=1.5 / own.records)
    assert_same(study, tiny_open)
    assert [one.report["error"].mean for one in study.baselines] == pytest.approx(
        [one.report["error"].mean for one in tiny_open.baselines], abs=1.5 / 60
    )
    scored = [e for e in read_events(tmp_path / "study") if e["event"] == "scored"]
    assert [e["trial"] for e in scored] == sorted(e["trial"] for e in scored)
    assert all(e["seconds"] > 0 for e in scored)


@pytest.mark.usefixtures("stacks")
def test_what_fails_together_is_scored_one_by_one_and_fails_alone(tmp_path, tiny_open, monkeypatch):
    run_score = jobs.Score.run

    def together(self, context, progress, /):
        raise NotFiniteError("a number is none")

    def one(self, context, progress, /):
        if self.name == "trial-001":
            raise NotFiniteError("it is this one")
        return run_score(self, context, progress)

    monkeypatch.setattr(jobs.SideBySide, "run", together)
    monkeypatch.setattr(jobs.Score, "run", one)
    heard = Heard()
    study = run(tmp_path / "study", heard)
    assert any("Each is measured by itself" in said for said in heard.said)
    assert [failed.number for failed in study.failed] == [1]
    assert study.trials[0].scores["error"].mean == tiny_open.trials[0].scores["error"].mean


@pytest.mark.usefixtures("stacks")
def test_a_batch_of_which_one_is_scored_goes_on_with_the_rest(
    tmp_path, tiny_open, joined, monkeypatch
):
    """Killed between two results of one job, a study scores what has no score yet."""

    taken, scored = [], Lane._scored

    def dies(self, done):
        if taken:
            raise KeyboardInterrupt
        taken.append(done.job.name)
        scored(self, done)

    monkeypatch.setattr(Lane, "_scored", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "study")
    monkeypatch.setattr(Lane, "_scored", scored)
    joined.clear()
    study = run(tmp_path / "study")
    assert all("trial-000" not in names for names in joined)
    assert_same(study, tiny_open)


def test_a_cpu_scores_sets_one_by_one(tmp_path, joined):
    run(tmp_path / "study")
    assert not joined
