"""Robust teachers are trained once a study, however often it is taken up again."""

from __future__ import annotations

import stat

import pytest
import torch
from study.test_rungs import with_another_rung_0
from tiny import PRIVATE, TINY

from moc.study import teachers as teachers_module
from moc.study.config import parse_config
from moc.study.context import StudyContext
from moc.study.reporter import Silent

TWO = {"teacher": {**TINY["teacher"], "count": 2}}


def context_of(base, folder) -> StudyContext:
    folder.mkdir(exist_ok=True)
    return StudyContext.load(parse_config({**base, **TWO}, where="test"), folder, Silent())


def weights(teachers) -> list[torch.Tensor]:
    return list(teachers.state_dict().values())


def same(one, two) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(two), strict=True))


def count_trained(monkeypatch) -> list[int]:
    trained, own = [], teachers_module.train_teachers

    def train(source, **how):
        trained.append(1)
        return own(source, **how)

    monkeypatch.setattr(teachers_module, "train_teachers", train)
    return trained


@pytest.mark.parametrize("base", [PRIVATE, TINY], ids=["private", "open"])
def test_teachers_are_read_back_to_the_last_bit(tmp_path, monkeypatch, base):
    trained = count_trained(monkeypatch)
    first = context_of(base, tmp_path / "study").teachers
    rungs = len(trained)
    assert rungs == (2 if base is PRIVATE else 1)
    again = context_of(base, tmp_path / "study").teachers
    assert len(trained) == rungs
    assert same(first, again)
    assert not any(parameter.requires_grad for parameter in again.parameters())
    files = sorted((tmp_path / "study" / "teachers").iterdir())
    assert len(files) == 2 * rungs
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    files[0].write_bytes(files[0].read_bytes()[:100])
    assert same(first, context_of(base, tmp_path / "study").teachers)
    assert len(trained) == rungs + 1, "a file that was cut short is made again, alone"


def test_teachers_of_another_release_are_never_taken(tmp_path, monkeypatch):
    first = context_of(PRIVATE, tmp_path / "study")
    teachers = first.teachers
    other = with_another_rung_0(tmp_path / "study", tmp_path / "other")
    (other / "teachers").symlink_to(tmp_path / "study" / "teachers")
    trained = count_trained(monkeypatch)
    changed = context_of(PRIVATE, other).teachers
    assert len(trained) == 1, "the lower rung is the same, and so are its teachers"
    assert not same(teachers.groups[0], changed.groups[0])
    assert same(teachers.groups[1], changed.groups[1])
