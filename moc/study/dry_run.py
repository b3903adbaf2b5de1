"""The dry run: a study in miniature on random records of the declared shape, before T is read.

What can fail without T fails here, where nothing is paid for and everything can still be mended:
networks, losses, attacks, baselines and engines that do not go with the records or each other.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel

from moc.data.declared import DataInfo
from moc.data.vault import RealData
from moc.errors import MocError, StudyError
from moc.evaluate.suites import Suite
from moc.privacy.ledger import Ledger
from moc.privacy.release import Round
from moc.study.config import EvaluateTable, StudyConfig
from moc.study.context import StudyContext, budget_of
from moc.study.division import public_parts
from moc.study.executors.local import Local
from moc.study.reporter import Silent
from moc.study.rounds import collection_of
from moc.study.stop_rules import StopSettings

_BATCH, _ATTACK = 64, 2  # records and steps of an attack, at most
_TEACHER = 10  # steps of a teacher, at most: what learns far too fast diverges in these

_BESIDE = 30  # sets beside the trials: control sets of curves, baselines, later choices
_SPARE = 20_000_000  # bytes for all else: ledgers, teachers, the page

_Table = TypeVar("_Table", bound=BaseModel)


def dry_run(context: StudyContext, run: Callable[[StudyContext], object]) -> None:
    """Do once, on a few random records, everything that a study does.

    Args:
        context: The study; nothing is read through its ledger, and its folder is left alone.
        run: Runs a study to its end.

    Raises:
        StudyError: If it cannot be run.
    """
    config = in_miniature(context.config)
    with tempfile.TemporaryDirectory() as place:
        ledger = Ledger(budget_of(config), path=Path(place) / "privacy.jsonl")
        for seed, name in enumerate(context.ledger.names):
            data = _random(context.ledger.info(name), config, seed=seed)
            ledger.own(name, data, public=name in public_parts(config))
        _require_space(context)
        try:
            run(StudyContext(config, ledger, folder=Path(place), reporter=Silent()))
        except MocError as error:
            raise _refusal(context, str(error)) from error
        except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise _refusal(context, f"{type(error).__name__}: {error}") from error


def needed_space(context: StudyContext) -> int:
    """About how many bytes the study will write: the sets, the curves and the release."""
    config, floats = context.config, math.prod(context.info.shape) + len(context.info.classes)
    each = 4 * floats * len(context.info.classes)  # one record a class
    sets = (config.planned_trials + _BESIDE) * config.condense.images_per_class * each
    proxies = getattr(config.evidence, "images_per_class", 0) * config.rung_count * each
    sums = [
        collection_of(context, number).zeros().flat().numel()
        for number in range(len(config.rounds))
    ]
    return sets + proxies + 8 * config.rung_count * sum(sums)


def _require_space(context: StudyContext) -> None:
    """Refuse a disk that the study would fill.

    Raises:
        StudyError: With what is free, and what is needed.
    """
    place = next(
        one for one in (context.folder, *context.folder.absolute().parents) if one.exists()
    )
    free, needed = shutil.disk_usage(place).free, needed_space(context) + _SPARE
    if free < needed:
        raise StudyError(
            f"About {needed / 1e6:.0f} MB of free disk expected at {place}, found "
            f"{free / 1e6:.0f} MB. Make room, or name another place by --runs. Nothing was read."
        )


def in_miniature(config: StudyConfig) -> StudyConfig:
    """The same study with as little of everything as there can be: a network, a trial."""
    condense, search = {"images_per_class": 1, "steps": 1}, {"trials": 1, "batch": 1}
    search |= {"stop": StopSettings()}
    teacher = {"count": 1, "steps": min(config.teacher.steps, _TEACHER)}
    teacher |= {"batch": min(config.teacher.batch, _BATCH)}
    first = config.privacy and config.privacy.epsilons[:1]
    privacy = config.privacy and _with(config.privacy, epsilons=first, ledger=None)
    evidence = {"steps": 1, "images_per_class": config.condense.decoder.tiles}
    evidence |= {"batch": min(getattr(config.evidence, "batch", _BATCH), _BATCH)}
    return _with(
        config,
        condense=_with(config.condense, **condense),
        search=_with(config.search, **search),
        teacher=_with(config.teacher, **teacher),
        evidence=_with(config.evidence, **evidence),
        evaluate=_evaluated(config.evaluate),
        rounds=tuple(_round(one, config.condense.decoder.tiles) for one in config.rounds),
        privacy=privacy,
        executor=Local(workers=1),
    )


def _round(one: Round, tiles: int) -> Round:
    learned = one.learned and _with(one.learned, images_per_class=tiles, steps=1, ages=(1,))
    return _with(one, count=len(one.networks or (None,)), learned=learned)


def _evaluated(table: EvaluateTable) -> EvaluateTable:
    protocol = _with(table.protocol, epochs=1, suite=_shorter(table.protocol.suite))
    return _with(
        table,
        protocol=protocol,
        replicates=1,
        report_replicates=min(table.report_replicates, 1),
        report_suite=table.report_suite and _shorter(table.report_suite),
    )


def _shorter(suite: Suite) -> Suite:
    attacks = (_with(a, steps=min(getattr(a, "steps", 1), _ATTACK)) for a in suite.attacks)
    return _with(suite, attacks=tuple(attacks))


def _with(table: _Table, **changes: object) -> _Table:
    """A table with other settings, as far as it has them."""
    known = type(table).model_fields
    return table.model_copy(update={name: one for name, one in changes.items() if name in known})


def _random(info: DataInfo, config: StudyConfig, *, seed: int) -> RealData:
    """As many random records of every class as a set of one record a class needs."""
    classes = len(info.classes)
    count = classes * config.condense.records_per_class
    x = torch.rand(count, *info.shape, generator=torch.Generator().manual_seed(seed))
    return RealData(info=replace(info, count=count), x=x, y=torch.arange(count) % classes)


def _refusal(context: StudyContext, words: str) -> StudyError:
    return StudyError(
        f"Nothing was read or spent. Tried out on random records of shape {context.info.shape}, "
        f"this study ends with: {words}"
    )
