"""The named methods, for a person: what they are, what they read, and what a step costs."""

from __future__ import annotations

import time
from typing import Any

import torch

from moc.condense.loop import Task, condense
from moc.condense.settings import CondenseSettings
from moc.data.sources import SOURCES
from moc.discrepancies.base import Generalization
from moc.evidence.base import missing
from moc.evidence.kinds import EVIDENCE
from moc.evidence.samples import Samples
from moc.methods import Method, methods, source_of
from moc.networks.architectures import default_network
from moc.networks.bank import Bank
from moc.privacy.ledger import Ledger
from moc.statistics import STATISTICS

HINT = (
    'Name one in a study file, method = "dm", or let a search choose, method = ["dm", "m3d"] '
    "under [search.choices]. `moc methods dm` tells more."
)

_STEPS = 8


def facts(method: Method, *, timed: bool = False) -> dict[str, Any]:
    """What there is to say of a method, as it is written to JSON."""
    found = {
        "name": method.name,
        "title": method.title,
        "paper": method.paper,
        "formula": method.formula,
        "differs": method.differs,
        "evidence": list(reads(method)),
        "needs": sorted(method.needs),
        "study": method.study,
    }
    return found | ({"seconds_a_step": seconds_a_step(method)} if timed else {})


def words(method: Method, *, timed: bool = False) -> list[str]:
    """All of it for a person, and the entries of a study file that it stands for."""
    cost = [f"a step: {1000 * seconds_a_step(method):.0f} ms"] if timed else []
    return [
        method.title,
        f"paper: {method.paper}",
        f"minimised: {method.formula}",
        f"differs: {method.differs}",
        f"reads: {', '.join(reads(method))}",
        *cost,
        "",
        f'In a study file, method = "{method.name}" stands for:',
        "",
        source_of(method),
    ]


def reads(method: Method) -> tuple[str, ...]:
    """Kinds of evidence that hold what a method needs."""
    return tuple(
        kind
        for kind in ("samples", "proxy", "moments")
        if not missing(method.needs, EVIDENCE.make(kind).gives(frozenset(STATISTICS.parts)))
    )


def seconds_a_step(method: Method) -> float:
    """Time of a step of condensation on digits, ten images a class, one network a step."""
    source = SOURCES.make("digits")
    ledger = Ledger(None)
    (records,) = source.load().split([1000], seed=0)
    info = ledger.own("train", records)
    bank = Bank(info=info, networks=(default_network(info),), seed=0)
    settings = CondenseSettings.model_validate({**method.study["condense"], "steps": _STEPS})
    stamps: list[float] = []
    condense(
        [Task(weights=(1.0,))],
        evidence=Samples(ledger, bank=bank),
        losses=(Generalization(method.discrepancy),),
        settings=settings,
        progress=lambda *_: stamps.append(time.perf_counter()),
    )
    return float(torch.tensor(stamps).diff().median())


def table(*, timed: bool = False) -> list[str]:
    """All methods, a line each."""
    rows = [("name", "method", "paper", "reads", "ms a step" if timed else "")]
    for name, method in methods().items():
        cost = f"{1000 * seconds_a_step(method):.0f}" if timed else ""
        rows.append(
            (name, method.title, method.paper.split(";")[0], ", ".join(reads(method)), cost)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
