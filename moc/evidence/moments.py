"""Moments: what sums over T say about it, released or exact, as evidence for condensation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from moc.errors import StudyError
from moc.evidence.base import Evidence, View, noise_start
from moc.networks.bank import Member
from moc.networks.train import BatchSource
from moc.privacy.collect import CLIP, Collection
from moc.privacy.release import Released
from moc.statistics.base import Statistic
from moc.statistics.class_counts import class_shares
from moc.statistics.second_moments import nearest_psd, unvech


class Moments(Evidence):
    """Sums over N under the K networks of every round, for every rung.

    Steps take the networks of all rounds in turn. Shares of the classes are those of the first
    round that counts them.
    """

    def __init__(self, rounds: Sequence[tuple[Collection, Sequence[Released]]]) -> None:
        """Read what was drawn in each round, rung by rung."""
        first, released = rounds[0]
        self.bank = first.bank
        self.info, self.device = self.bank.info, self.bank.device
        self.rungs = tuple(one.rung for one in released if one.rung is not None)
        self.gives = frozenset.intersection(*(frozenset(c.weights) for c, _ in rounds))
        self._rounds = [(c, [_Averages(c, one) for one in found]) for c, found in rounds]
        self._networks = [(c, found, k) for c, found in self._rounds for k in range(c.networks)]
        self._shares = self._class_shares(rounds)

    def _class_shares(
        self, rounds: Sequence[tuple[Collection, Sequence[Released]]]
    ) -> list[Tensor]:
        """Shares of the classes (c,) by rung."""
        classes, records = len(self.info.classes), self.info.count
        counting = [one for one in rounds if "class-counts" in one[0].weights]
        found = []
        for place in range(len(rounds[0][1])):
            counted, noise = None, 0.0
            if counting:
                collection, released = counting[0]
                own = released[place]
                counted = collection.average("class-counts", own.blocks["class-counts"])[:, 0]
                part = next(p for p in collection.statistics if p.kind == "class-counts")
                noise = own.noise * CLIP / (records * collection.scale(part))
            shares = class_shares(counted, noise=noise, classes=classes, records=records)
            found.append(shares.to(self.device))
        return found

    @override
    def start(self, y: Tensor, *, seed: int, rung: int) -> Tensor:
        return noise_start(y, self.info.shape, seed=seed)

    @override
    def view(self, step: int, rungs: Sequence[int], *, member: Member | None = None) -> MomentView:
        if member is not None:
            raise StudyError(
                "A release has no view under networks that it was not drawn under: a pool of "
                "networks trained on the set needs records. Leave `pool` out, or use a proxy."
            )
        collection, averages, k = self._networks[step % len(self._networks)]
        chosen = [min(rung, len(averages) - 1) for rung in rungs]
        return MomentView(
            member=collection.bank.member(k),
            rungs=tuple(rungs),
            seed=step,
            network=k,
            averages=[averages[rung] for rung in chosen],
            shares=torch.stack([self._shares[rung] for rung in chosen]),
        )

    @override
    def source(self, rung: int) -> BatchSource:
        raise StudyError(
            "Networks are trained on records, and a release holds only sums over them. Use a proxy "
            "of it: [evidence] kind = 'proxy'."
        )


class _Averages:
    """What one rung of one round says, averaged over N, on the bank's device."""

    def __init__(self, collection: Collection, released: Released) -> None:
        device = collection.bank.device
        self.by_name = {
            name: collection.average(name, block).float().to(device)
            for name, block in released.blocks.items()
        }
        second = self.by_name.get("second-moments")
        self.second = None if second is None else nearest_psd(unvech(second[:, 0]))


@dataclass(frozen=True, kw_only=True)
class MomentView(View):
    """One network of a round with the sums of each set's own rung.

    Attributes:
        network: Number of the network in its round.
        averages: What was released, for each of the B sets.
        shares: Shares of the classes (B, c), above 0, as far as they are known.
    """

    member: Member
    rungs: tuple[int, ...]
    seed: int
    network: int
    averages: Sequence[_Averages]
    shares: Tensor

    @override
    def statistic(self, statistic: Statistic) -> Tensor:
        sums = self._block(statistic.kind, per_network=statistic.per_network)
        return sums / self.shares.unsqueeze(-1) if statistic.by_class else sums

    @override
    def class_sums(self) -> Tensor:
        return self._block("class-means")

    @override
    def class_shares(self) -> Tensor:
        return self.shares

    @override
    def second_moment(self) -> Tensor:
        seconds = [one.second[self.network] for one in self.averages if one.second is not None]
        if not seconds:
            raise self._lacks("second-moments")
        return torch.stack(seconds)

    @override
    def quadratic(self, predictor: Tensor) -> Tensor:
        return (predictor * (self.second_moment() @ predictor)).sum((1, 2))

    def _block(self, name: str, *, per_network: bool = True) -> Tensor:
        """A statistic over N for each set: (B, c or 1, k)."""
        if any(name not in one.by_name for one in self.averages):
            raise self._lacks(name)
        blocks = [one.by_name[name] for one in self.averages]
        return torch.stack([block[self.network] if per_network else block for block in blocks])

    def _lacks(self, name: str) -> StudyError:
        found = ", ".join(self.averages[0].by_name)
        return StudyError(
            f"The sums of {name} are needed, and this round holds {found}. Add it to `statistics` "
            "in every one of [[rounds]]."
        )
