"""What every objective is: words for a person, a frame, a loss in S or none, a measure or none."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from moc.objectives.units import UNITS, Unit
from moc.parts import Family, Part

if TYPE_CHECKING:
    from moc.attacks.threat import Threat
    from moc.data.declared import DataInfo
    from moc.data.synthetic import SyntheticSet
    from moc.discrepancies.base import Discrepancy, Loss, LossContext
    from moc.evaluate.measure import Measure
    from moc.evaluate.suites import Suite
    from moc.networks.architectures import Architecture
    from moc.networks.train import Training


@dataclass(frozen=True, kw_only=True)
class MeasureContext:
    """What a study offers to measures.

    Attributes:
        info: Public facts about the data.
        training: How networks are trained on a set, by the study's protocol.
        suite: The attacks that may be used on the records in question.
        threat: What robustness is measured against.
        seen: Architectures that condensation works with.
    """

    info: DataInfo
    training: Training
    suite: Suite
    threat: Threat
    seen: tuple[Architecture, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a set without training a network on it.

    Attributes:
        synthetic: The set.
        epsilon: What the privacy ledger charges for it; infinity in an open study.
    """

    synthetic: SyntheticSet
    epsilon: float


class Objective(Part, ABC):
    """Something that a study minimises.

    A study names its objectives in `[objectives]`; the name of an entry is its kind, unless the
    entry says otherwise. An objective is measured on held-out records (`measure`) or known exactly
    of every set (`exact`). Those with a `loss` in S are what condensation minimises, by weights
    that the search proposes; the others are consequences.

    Attributes:
        words: What a person calls it.
        unit: Key of `UNITS`.
        scale: Scale on which it is compared: axes, hypervolume, choice.
        exact: Whether it is known exactly of a finished set, by `value`.
        weighed: Whether its loss depends on S, so that condensation minimises it.
        advice: What else lowers it, for whoever finds no set within a limit on it; a sentence.
    """

    words: ClassVar[str]
    unit: ClassVar[Literal["share", "epsilon", "bytes"]] = "share"
    scale: ClassVar[Literal["linear", "log2"]] = "linear"
    exact: ClassVar[bool] = False
    weighed: ClassVar[bool] = False
    advice: ClassVar[str] = ""

    def check(self, discrepancy: Discrepancy) -> None:
        """Refuse what cannot work, before anything is read; `discrepancy` is the study's.

        Raises:
            StudyError: With what to change.
        """
        del discrepancy

    def loss(self, context: LossContext) -> Loss | None:
        """Its loss module on the study's device; None if it is a consequence of the others."""
        del context

    def measure(self, context: MeasureContext) -> Measure | None:
        """What is counted on held-out records; None if it is exact."""
        del context

    def value(self, facts: Facts) -> float:
        """Its value for a finished set, if it is exact."""
        raise TypeError(f"{self.kind} is measured, not known: {facts.epsilon}.")

    @abstractmethod
    def frame(self, context: FrameContext) -> tuple[float, float]:
        """Best value, and the worst that is still worth something, before scaling."""

    @property
    def shown(self) -> Unit:
        """How its values are written."""
        return UNITS[self.unit]

    @property
    def heading(self) -> str:
        """Words and unit, such as `clean error %`."""
        return f"{self.words}{self.shown.suffix}"

    def scaled(self, value: float) -> float:
        """The value on its scale."""
        return value if self.scale == "linear" else math.log2(value) if value > 0 else -math.inf


@dataclass(frozen=True, kw_only=True)
class FrameContext:
    """What frames are made of: public facts, so that every study with them has the same frame.

    Attributes:
        info: Public facts about the data.
        epsilons: What the rungs cost, largest first; empty in an open study.
        largest_set: Bytes of the largest set that the study may make.
    """

    info: DataInfo
    epsilons: Sequence[float]
    largest_set: int


Frame = Mapping[str, tuple[float, float]]
"""The fixed frame of a study's hypervolume: (ideal, nadir) of every objective, scaled."""

OBJECTIVES: Family[Objective] = Family("objectives", Objective, "moc.objectives")


def frame_of(objectives: Mapping[str, Objective], context: FrameContext) -> Frame:
    """The frame of a study with these objectives."""
    frame = {}
    for name, objective in objectives.items():
        best, worst = objective.frame(context)
        frame[name] = (objective.scaled(best), objective.scaled(worst))
    return frame


def read_objectives(tables: Mapping[str, Any]) -> dict[str, Objective]:
    """Objectives from the entries of a study file; a missing kind is the entry's name.

    Raises:
        StudyError: With every fault and its place.
    """
    found = {}
    for name, entry in tables.items():
        table = {"kind": name, **entry} if isinstance(entry, Mapping) else entry
        found[name] = entry if isinstance(entry, Objective) else OBJECTIVES.make(table)
    return found
