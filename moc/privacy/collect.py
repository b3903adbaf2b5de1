"""One pass over T: bounded terms of every record, clipped together and summed exactly.

For record i and network k of a public bank, the vector v_i holds √(w_s / K) times the term of every
statistic s under every network (√w_s times those taken once). One joint clip bounds ‖v_i‖ by C = 1,
and every coordinate is rounded towards zero on a grid of 2⁻²⁰. The int64 sum Σ v_i is therefore
exact, the same for any order, batch and shard, and moves by at most C when a record is replaced by
nothing, whatever the statistics, K and the classes are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from moc.data.vault import Records, as_unit
from moc.errors import PrivacyError
from moc.networks.bank import Bank
from moc.networks.train import Progress
from moc.privacy.sums import GRID, Sums, to_grid
from moc.statistics.base import Statistic

CLIP = 1.0
"""C, fixed a priori: the most that one record contributes, in L2 norm."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What is summed, and how much of a record's norm each statistic gets; fixed before T is read.

    Attributes:
        bank: The public networks.
        networks: How many of them, K.
        statistics: What is summed under them.
        batch: Records at a time. Every batch is padded to this size, so that a record meets the
            same arithmetic whatever batch and shard it travels in. A multiple of 64: of other
            numbers, kernels round the last rows in their own way (`moc.privacy.isolation` looks).
    """

    bank: Bank
    networks: int
    statistics: tuple[Statistic, ...]
    batch: int = 256

    def __post_init__(self) -> None:
        """Check the weights, and that all networks have as many features."""
        weights_of(self.statistics)
        kinds = range(min(self.networks, len(self.bank.networks)))
        if len(sizes := {self.bank.member(k).dimension for k in kinds}) > 1:
            raise PrivacyError(
                "The networks of a release need the same number of features, "
                f"found {sorted(sizes)}: choose architectures that agree in it."
            )

    @cached_property
    def weights(self) -> dict[str, float]:
        """Share of a record's squared norm, by statistic; they sum to one."""
        return weights_of(self.statistics)

    def describe(self) -> str:
        """What is summed, for the ledger: sums under other networks are another release."""
        parts = "; ".join(
            f"{part.kind} ({''.join(_settings(part))}weight {self.weights[part.kind]:g})"
            for part in self.statistics
        )
        return f"{self.networks} {self.bank.describe()}: {parts}"

    def scale(self, statistic: Statistic) -> float:
        """What terms of a statistic are multiplied by before the clip."""
        return math.sqrt(self._share(statistic))

    def _share(self, statistic: Statistic) -> float:
        """Share of a record's squared norm that a statistic has under one network."""
        return self.weights[statistic.kind] / (self.networks if statistic.per_network else 1)

    def _blocks(self) -> Iterator[tuple[Statistic, int]]:
        """Every statistic with each network it is taken under: once, then network by network."""
        yield from ((part, 0) for part in self.statistics if not part.per_network)
        for k in range(self.networks):
            yield from ((part, k) for part in self.statistics if part.per_network)

    def zeros(self) -> Sums:
        """The sums of no records."""
        blocks = {}
        for part in self.statistics:
            lead = (self.networks,) if part.per_network else ()
            blocks[part.kind] = torch.zeros(*lead, *part.shape(self.bank), dtype=torch.int64)
        return Sums(blocks=blocks)

    def sums(self, records: Records, *, progress: Progress | None = None) -> Sums:
        """Sum the contributions of all records in one pass, in memory independent of N.

        Args:
            records: Records of T, or a shard of them.
            progress: Told (records done, records in all) after every batch.

        Raises:
            PrivacyError: If a record holds NaN or infinity.
        """
        total = self.zeros().to(self.bank.device)
        for done, x, y in self._batches(records):
            self._add(total, x, y)
            if progress is not None:
                progress(done, len(records.y))
        return total.to("cpu")

    def average(self, name: str, block: Tensor) -> Tensor:
        """Sums over N, float64, from sums in grid steps, with or without noise."""
        statistic = next(part for part in self.statistics if part.kind == name)
        return block.double() / (GRID * self.bank.info.count * self.scale(statistic))

    def _batches(self, records: Records) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Padded records (batch, *shape) in [0, 1]; labels (n <= batch,) of those that are real."""
        for start in range(0, len(records.y), self.batch):
            part = records.part(slice(start, start + self.batch)).loaded()
            x, y = as_unit(part.x), part.y
            if not torch.isfinite(x).all():
                raise PrivacyError("A record holds NaN or infinity; it cannot be clipped.")
            padding = x.new_zeros(self.batch - len(y), *x.shape[1:])
            x, y = torch.cat([x, padding]).to(self.bank.device), y.to(self.bank.device)
            yield start + len(y), x, y

    @torch.no_grad()
    def _add(self, total: Sums, x: Tensor, y: Tensor) -> None:
        """Add a batch; only after all arithmetic is the padding cut off."""
        padded = torch.cat([y, y.new_zeros(self.batch - len(y))])
        labels = F.one_hot(padded, len(self.bank.info.classes)).double()
        features = [self.bank.member(k)(x).double() for k in range(self.networks)]
        factors = self._clip_factors(x, labels, features)
        for part, k in self._blocks():
            terms = part.terms(self.bank.member(k), x, labels, features[k])
            steps = to_grid(terms, self.scale(part) * factors)[: len(y)]
            block = total.blocks[part.kind][k] if part.per_network else total.blocks[part.kind]
            if part.by_class:
                block.index_add_(0, y, steps)
            else:
                block += steps.sum(0, keepdim=True)

    def _clip_factors(self, x: Tensor, labels: Tensor, features: list[Tensor]) -> Tensor:
        """min(1, C / ‖v_i‖) for each record (batch,); zero for a record that is not finite."""
        square = torch.zeros(self.batch, dtype=torch.float64, device=self.bank.device)
        for part, k in self._blocks():
            norms = part.squared_norms(self.bank.member(k), x, labels, features[k])
            square += self._share(part) * norms
        # The margin covers float64 rounding between this norm and that of the coordinates.
        factors = (CLIP / (square.sqrt() * (1 + 1e-9))).clamp(max=1.0)
        return torch.where(torch.isfinite(square), factors, 0.0)


def weights_of(statistics: tuple[Statistic, ...]) -> dict[str, float]:
    """Share of a record's squared norm that every statistic gets, by kind.

    Raises:
        PrivacyError: If the shares do not sum to one, or two statistics are of one kind.
    """
    kinds = [part.kind for part in statistics]
    given = sum(part.weight or 0.0 for part in statistics)
    open_ended = [part for part in statistics if part.weight is None]
    rest = 1.0 - given
    fits = rest > 1e-9 if open_ended else abs(rest) < 1e-9
    if not kinds or len(set(kinds)) < len(kinds) or not fits:
        raise PrivacyError(
            "Statistics of different kinds, whose weights sum to one or leave something to those "
            f"without a weight, expected; found {', '.join(kinds) or 'none'} with weights that sum "
            f"to {given:g}."
        )
    each = rest / len(open_ended) if open_ended else 0.0
    return {part.kind: each if part.weight is None else part.weight for part in statistics}


def _settings(part: Statistic) -> Iterator[str]:
    for key, value in part:
        if key not in ("kind", "weight"):
            yield f"{key} {value}, "
