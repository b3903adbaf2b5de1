"""The other networks of the masking checks: do records made adversarial to them do more harm?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from moc.data.storage import load_set
from moc.data.synthetic import SyntheticSet, one_hot
from moc.evaluate.masking import adversarial_to
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
    """What other networks have to say on the records that are examined.

    Attributes:
        records: Those records (n, *shape), on the CPU, made adversarial to a network trained
            plainly, and to one trained adversarially.
        words: What these were trained on, for a person.
    """

    records: tuple[Tensor, ...]
    words: str


def train_transfer(context: StudyContext, *, stand_in: Trial) -> Transfer:
    """Train both networks, with public seeds, on records that may be shown, and attack them once.

    Those are samples of T in an open study and records declared public in a private one. Where
    there are none, a set of the study itself stands in for them: post-processing, at no cost.

    Args:
        context: The study; the schedule is that of `[teacher]`, at most 300 steps of it.
        stand_in: A trial of the rung whose readers will see the result.
    """
    source, words = _source(context, stand_in)
    teacher = context.config.teacher
    records, errors = [], []
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
        records.append(_attacked(trained, context))
        errors.append(f"{title} (clean error {_error(trained, context):.1%})")
    return Transfer(
        records=tuple(records),
        words=f"network 1 was trained {errors[0]}, network 2 {errors[1]}, both on {words}",
    )


def _attacked(network: Network, context: StudyContext) -> Tensor:
    """The records that are examined, made adversarial to a network."""
    held_out = context.held_out["examined"]
    x, y = (part.to(context.device) for part in held_out.examine(len(held_out)))
    return adversarial_to(
        *(network, x, y),
        threat=context.config.threat,
        classes=network.head.out_features,
        seed=context.seed + _SEED,
    ).cpu()


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
