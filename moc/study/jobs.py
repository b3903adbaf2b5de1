"""What executors do: jobs on stored sets, each a pure function of its fields and the workplace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from moc.data.storage import load_set
from moc.evaluate import score
from moc.evaluate.examination import Examination, examine
from moc.evidence.held_out import Counts

if TYPE_CHECKING:
    from torch import nn

    from moc.evaluate import Protocol
    from moc.evaluate.robust import Suite
    from moc.evidence.held_out import HeldOut

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What every job needs and no job changes.

    Attributes:
        protocol: How networks are trained and attacked.
        held_out: Held-out records by name.
        device: Where networks are trained.
    """

    protocol: Protocol
    held_out: dict[str, HeldOut]
    device: str


@dataclass(frozen=True, kw_only=True)
class Job(ABC, Generic[Result]):
    """Work on one set.

    Attributes:
        key: Name of the job in results.
        path: The stored set.
        held_out: Which of the workplace's held-out records.
        seeds: Public seeds of the networks to train, the same for all sets that are compared.
    """

    key: str
    path: Path
    held_out: str
    seeds: tuple[int, ...]

    @abstractmethod
    def do(self, workplace: Workplace) -> Result:
        """Do the work."""


@dataclass(frozen=True, kw_only=True)
class Score(Job[Counts]):
    """Count what networks trained on the set get right.

    Attributes:
        suite: Attacks in place of the protocol's.
    """

    suite: Suite | None = None

    def do(self, workplace: Workplace) -> Counts:
        """See `Job`."""
        protocol = workplace.protocol
        return score(
            load_set(self.path),
            protocol=replace(protocol, suite=self.suite or protocol.suite),
            held_out=workplace.held_out[self.held_out],
            seeds=self.seeds,
            device=workplace.device,
        )


@dataclass(frozen=True, kw_only=True)
class Examine(Job[Examination]):
    """Run masking checks on a network trained on the set, and measure its robustness curve.

    Attributes:
        checked: Whether to run the masking checks.
        transfer_models: Other networks whose adversarial records those checks try.
    """

    checked: bool
    transfer_models: tuple[nn.Module, ...] = ()

    def do(self, workplace: Workplace) -> Examination:
        """See `Job`."""
        return examine(
            load_set(self.path),
            protocol=workplace.protocol,
            held_out=workplace.held_out[self.held_out],
            seeds=self.seeds,
            checked=self.checked,
            transfer_models=self.transfer_models,
            device=workplace.device,
        )
