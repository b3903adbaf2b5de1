"""What all tests share: one thread, no deadlines on busy machines, real data, tiny studies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from tiny import PRIVATE, TINY

from moc.attacks.gradient import Fgsm, PgdCe
from moc.condense import loop
from moc.data import SOURCES, RealData
from moc.evaluate import examine, masking
from moc.evaluate.suites import CustomSuite
from moc.memory import keep_freed_memory
from moc.search.certainty import hypervolume_interval, probability_nondominated
from moc.study import standing
from moc.study.config import parse_config
from moc.study.records import StudyRecord
from moc.study.run import run_study

torch.set_num_threads(1)
keep_freed_memory()
settings.register_profile("moc", deadline=None)
settings.load_profile("moc")

_SHORT = (
    (masking, "_STEPS", 4),
    (masking, "_FEW", 2),
    (masking, "_QUERIES", 8),
    (examine, "CURVE", CustomSuite(attacks=(Fgsm(), PgdCe(steps=1, random_start=True)))),
    (loop, "_FINAL_VIEWS", 4),
    (standing, "probability_nondominated", partial(probability_nondominated, draws=100)),
    (standing, "hypervolume_interval", partial(hypervolume_interval, draws=100)),
)
"""What is done many times for a better answer, and tests do less often that ask something else."""

_WHOLE = tuple((module, name, getattr(module, name)) for module, name, _ in _SHORT)


@pytest.fixture(scope="session", autouse=True)
def _ledger_of_the_data_sets(tmp_path_factory) -> None:
    """No test writes to the ledger of whoever runs it."""
    os.environ["MOC_LEDGER"] = str(tmp_path_factory.mktemp("ledger") / "moc-ledger.jsonl")


@pytest.fixture(autouse=True)
def _no_dry_runs(request, monkeypatch) -> None:
    """Studies of tests start at once; those of fixtures, and of `dry_runs`, are tried out first."""
    if "dry_runs" not in request.fixturenames:
        monkeypatch.setattr("moc.study.run.dry_run", lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def _shortened() -> Iterator[None]:
    """Much is done less often, but for tests that ask for `in_full`."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in _SHORT:
            patch.setattr(module, name, value)
        yield


@pytest.fixture
def in_full(monkeypatch) -> None:
    """Let this test do everything as often as everybody does, and as other processes do."""
    for module, name, value in _WHOLE:
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def dry_runs() -> None:
    """Let studies of this test be tried out before they start, as they are for everybody."""


@pytest.fixture(scope="session")
def digits() -> RealData:
    """The digits of scikit-learn, sealed."""
    return SOURCES.make("digits").load("train")


@pytest.fixture(scope="session")
def shared_study(tmp_path_factory) -> Callable[[dict[str, Any]], StudyRecord]:
    """Runs a study once for all processes of a test run; tests only read its folder."""
    base: Path = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def run(tables: dict[str, Any]) -> StudyRecord:
        folder = shared / "shared-studies" / tables["name"]
        folder.parent.mkdir(exist_ok=True)
        with (folder.parent / f"{tables['name']}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return run_study(parse_config(tables, where="test"), folder)

    return run


@pytest.fixture(scope="session")
def tiny_open(shared_study) -> StudyRecord:
    """A finished open study; its folder is not to be changed."""
    return shared_study(TINY)


@pytest.fixture(scope="session")
def tiny_private(shared_study) -> StudyRecord:
    """A finished private study; its folder is not to be changed."""
    return shared_study(PRIVATE)
