"""The other networks of the masking checks: would their adversarial records do more harm?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moc.data.storage import load_set
from moc.data.synthetic import SyntheticSet, one_hot
from moc.evaluate.robust import correct
from moc.evidence.proxy import Proxy
from moc.networks.network import Network
from moc.networks.teachers import train_teachers
from moc.networks.train import BatchSource
from moc.study.records import Trial

if TYPE_CHECKING:
    from moc.study.context import StudyContext

_STEPS = 300
"""At most so many; the words of a `Transfer` say what they led to."""

_SHOWN = 200
"""Test records on which the networks' own errors are counted."""

_SEED = 700_000  # no network of the search or of the report has it


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Networks to transfer attacks from.

    Attributes:
        networks: One trained plainly and one trained adversarially.
        words: What they were trained on, for a person.
    """

    networks: tuple[Network, ...]
    words: str


def train_transfer(context: StudyContext, *, stand_in: Trial) -> Transfer:
    """Train both networks, with public seeds, on records that may be shown.

    Those are samples of T in an open study and records declared public in a private one. Where
    there are none, a set of the study itself stands in for them: post-processing, at no cost.

    Args:
        context: The study; the schedule is that of `[teacher]`, at most 300 steps of it.
        stand_in: A trial of the rung whose readers will see the result.
    """
    source, words = _source(context, stand_in)
    teacher = context.config.teacher
    networks, errors = [], []
    for title, adversarial in (("plainly", False), ("adversarially", True)):
        settings = teacher.model_copy(
            update={
                "count": 1,
                "steps": min(teacher.steps, _STEPS),
                "adversarial": adversarial,
            }
        )
        stage = f"a network trained {title}, to transfer attacks from"
        with context.reporter.stage(stage) as progress:
            (trained,) = train_teachers(
                source,
                network=context.training.network,
                settings=settings,
                threat=context.config.threat,
                seed=context.seed + _SEED,
                progress=progress,
            )
        networks.append(trained)
        errors.append(f"{title} (clean error {_error(trained, context):.1%})")
    return Transfer(
        networks=tuple(networks),
        words=f"network 1 was trained {errors[0]}, network 2 {errors[1]}, both on {words}",
    )


def _error(network: Network, context: StudyContext) -> float:
    """Share of the records that a network gets wrong."""
    x, y = (part.to(context.device) for part in context.held_out["examined"].examine(_SHOWN))
    return 1 - float(correct(network, x, y).float().mean())


def _source(context: StudyContext, stand_in: Trial) -> tuple[BatchSource, str]:
    """Batches of records that may be shown, and what they are."""
    if context.config.privacy is None and not context.ledger.streams("train"):
        return context.samples, "samples of the real records"
    if context.reference is not None:
        x, y = context.reference
        info = context.info
        shown = SyntheticSet(info=info, x=x, labels=one_hot(y, len(info.classes)))
        return Proxy(shown, context.device), f"{len(y)} reference records"
    stored = load_set(context.folder / stand_in.set_path)
    return Proxy(stored, context.device), f"{stand_in.name}, as no real records may be shown"
