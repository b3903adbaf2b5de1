"""Moments: what a release says about T, as evidence for condensation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from moc.errors import StudyError
from moc.evidence.base import Evidence
from moc.evidence.shares import class_shares
from moc.evidence.views import MomentTarget, Target, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from moc.bank import Member
    from moc.evidence.rungs import Rung
    from moc.evidence.statistics import Statistics


class Moments(Evidence):
    """Class sums and second moments under the K networks of a bank, for every rung."""

    def __init__(
        self, statistics: Statistics, clean: Sequence[Rung], attacked: Sequence[Rung] | None = None
    ) -> None:
        """Read the rungs of one release of clean moments and, if there is one, of attacked ones."""
        self.statistics = statistics
        self.bank = statistics.bank
        self.info, self.device = self.bank.info, self.bank.device
        epsilons = tuple(rung.epsilon for rung in clean)
        self.epsilons = epsilons if math.isfinite(epsilons[0]) else ()
        self._clean = [_read(statistics, rung) for rung in clean]
        self._attacked = [_read(statistics, rung) for rung in attacked or ()]

    def start(self, y: Tensor, *, seed: int, rung: int) -> Tensor:
        """See `Evidence`; uniform noise from a public seed."""
        del rung
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(len(y), *self.info.shape, generator=generator)

    def view(self, step: int, rungs: Sequence[int], *, member: Member | None = None) -> MomentView:
        """See `Evidence`; step s sees network s mod K."""
        if member is not None:
            raise StudyError(
                "A release cannot be looked at through networks that it was not drawn under: a "
                "pool of networks trained on the set needs records. Use pool = 0, or a proxy."
            )
        k = step % self.statistics.networks
        member = self.bank.member(k)
        return MomentView(
            member=member,
            rungs=tuple(rungs),
            clean_target=_target(self._clean, k, member, rungs),
            attacked_target=_target(self._attacked, k, member, rungs) if self._attacked else None,
        )


@dataclass(frozen=True, kw_only=True)
class MomentView(View):
    """One network of the bank with the moments of each set's own rung."""

    member: Member
    rungs: tuple[int, ...]
    clean_target: MomentTarget
    attacked_target: MomentTarget | None

    def clean(self) -> Target:
        """See `View`."""
        return self.clean_target

    def attacked(self, predictor: Tensor | None) -> Target:
        """See `View`; the records were attacked when the release was drawn."""
        del predictor
        if self.attacked_target is None:
            raise ValueError("This release holds no moments of attacked records.")
        return self.attacked_target


@dataclass(frozen=True, kw_only=True)
class _Rung:
    first: Tensor  # (K, c, d) over N
    second: Tensor | None  # (K, p, p) over N
    shares: Tensor  # (c,) of each class in T


def _read(statistics: Statistics, rung: Rung) -> _Rung:
    first, second = statistics.normalise(rung.first, rung.second)
    device = statistics.bank.device
    return _Rung(
        first=first.to(device),
        second=None if second is None else _psd(second).to(device),
        shares=class_shares(statistics, rung).to(device),
    )


def _psd(matrix: Tensor) -> Tensor:
    """The nearest positive semidefinite matrices: post-processing that removes mere noise."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ (values.clamp_min(0.0).unsqueeze(-1) * vectors.transpose(-1, -2))


def _target(rungs: list[_Rung], k: int, member: Member, read: Sequence[int]) -> MomentTarget:
    chosen = [rungs[min(r, len(rungs) - 1)] for r in read]
    seconds = [rung.second[k] for rung in chosen if rung.second is not None]
    return MomentTarget(
        member=member,
        sums=torch.stack([rung.first[k] for rung in chosen]),
        second=torch.stack(seconds) if seconds else None,
        shares=torch.stack([rung.shares for rung in chosen]),
    )
