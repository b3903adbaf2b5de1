"""What runs out of memory is done again in parts, which gives the same; else it has failed."""

from contextlib import contextmanager

import pytest
import torch
from tiny import TINY

from moc.condense.loop import Start, Task
from moc.data.curve import Curve, save_curve
from moc.errors import StudyError
from moc.privacy.held_out import Counts
from moc.study.attempts import Attempt, Failure
from moc.study.config import parse_config
from moc.study.context import StudyContext
from moc.study.jobs import Condense, CondenseCurves, Dial
from moc.study.measuring_jobs import Score
from moc.study.records import set_path
from moc.study.reporter import Silent
from moc.study.work import Job

WEIGHTS = ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attempts")
    return StudyContext.load(parse_config(TINY, where="test"), folder, Silent()).worker()


@pytest.fixture(scope="module")
def jobs(context, tiny_open, tmp_path_factory):
    """Jobs of several parts."""
    starts = tuple(Start(rung=0, seed=seed) for seed in range(3))
    curves = CondenseCurves(key="curves", starts=starts)
    path = tmp_path_factory.mktemp("curves") / "one.safetensors"
    save_curve(curves.run(context, None)[0], path)
    return {
        "condense": Condense(
            key="sets",
            numbers=(0, 1, 2),
            tasks=tuple(Task(weights=w, rung=0, seed=3) for w in WEIGHTS),
        ),
        "curves": curves,
        "dial": Dial(
            key="dial",
            numbers=(0, 1, 2),
            points=tuple({"robust_error": w} for _, w in WEIGHTS),
            path=path,
        ),
        "score": Score(
            key="score",
            name="trial-000",
            path=tiny_open.folder / set_path("trial-000"),
            records="validation",
            seeds=(1, 2, 3),
        ),
    }


def tensors(result):
    """All numbers of a result."""
    if isinstance(result, Counts):
        return [result._sums, torch.tensor(result.bound)]
    if isinstance(result[0], Curve):
        return [part for curve in result for part in (curve.x, curve.labels)]
    sets = [(one.synthetic.x, one.synthetic.labels, torch.tensor(one.losses)) for one in result]
    return [part for parts in sets for part in parts]


@pytest.mark.parametrize("name", ["condense", "curves", "dial", "score"])
def test_parts_give_what_the_whole_gives(context, jobs, monkeypatch, name):
    job, sizes = jobs[name], []
    whole, run = job.run(context, None), type(job).run

    def crowded(self, *arguments):
        sizes.append(len(getattr(self, self.divided[0])))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return run(self, *arguments)

    monkeypatch.setattr(type(job), "run", crowded)
    found = Attempt(job=job).run(context, None)
    assert sizes == [3, 1, 2, 1, 1]
    for own, other in zip(tensors(found), tensors(whole), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_divided_is_tried_again_with_its_graph_elsewhere(context, jobs, monkeypatch):
    job = jobs["condense"].halves()[0]
    whole, run, kept, tries = job.run(context, None), Condense.run, [], []
    spared = torch.autograd.graph.save_on_cpu

    @contextmanager
    def listen():
        with spared():
            kept.append(len(tries))
            yield

    def crowded(self, *arguments):
        tries.append(self)
        if len(tries) == 1:
            raise MemoryError
        return run(self, *arguments)

    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu", listen)
    monkeypatch.setattr(Condense, "run", crowded)
    (found,) = Attempt(job=job).run(context, None)
    assert kept == [1]
    assert torch.equal(found.synthetic.x, whole[0].synthetic.x)


class Grows(Job):
    key, lane = "grows", 0

    def __init__(self, times):
        self.left = times

    def run(self, context, progress, /):
        self.left -= 1
        if self.left >= 0:
            raise MemoryError
        return "done"


def test_what_ran_out_of_memory_once_is_tried_again():
    assert Attempt(job=Grows(1)).run(None, None) == "done"
    assert isinstance(Attempt(job=Grows(2)).run(None, None), Failure)


def test_a_part_that_fails_is_a_failure_of_the_whole(context, jobs, monkeypatch):
    def crowded(self, *_):
        raise MemoryError("no room")

    monkeypatch.setattr(Score, "run", crowded)
    found = Attempt(job=jobs["score"]).run(context, None)
    assert found.cause == "out of memory, in the smallest parts too (no room)"


def test_what_a_job_refuses_for_other_reasons_ends_the_study():
    for error in (StudyError("no"), RuntimeError("shapes"), KeyError("x")):
        job = Grows(0)
        job.run = lambda *_, error=error: (_ for _ in ()).throw(error)
        with pytest.raises(type(error)):
            Attempt(job=job).run(None, None)
