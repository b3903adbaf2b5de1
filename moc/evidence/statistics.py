"""The bounded per-record statistics whose sums are the moments of T.

For record i and network k of a public bank, with features φ of norm one, the vector v_i holds
√(w₁/K) φ ⊗ onehot(y_i) and √(w₂/K) vech(ψψᵀ) for every k, and √w₀ onehot(y_i) once. ψ are the
features after the network's public projection; vech keeps the upper triangle, with √2 off the
diagonal so that its norm is that of the whole matrix. One joint clip bounds ‖v_i‖ by C = 1, and
every coordinate is rounded towards zero on a grid of 2⁻²⁰. The int64 sum Σ v_i is therefore exact,
the same for any order, batch and shard, and moves by at most C when a record is added or removed,
whatever K and the classes are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from moc.data.real import as_unit
from moc.errors import PrivacyError
from moc.evidence.sums import GRID, Sums, to_grid
from moc.evidence.triangle import unvech, vech

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from moc.bank import Bank, Member
    from moc.data._vault import Records

CLIP = 1.0
"""C, fixed a priori: the most that one record contributes, in L2 norm."""


class RecordAttack(Protocol):
    """Attacks each record by itself, against one network: never one record against another."""

    def __call__(self, k: int, member: Member, x: Tensor, y: Tensor, /) -> Tensor:
        """Attacked records of the shape of `x` (n, *shape)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Which moments are taken, and how much of a record's norm each gets; fixed before T is read.

    Attributes:
        bank: The public networks.
        networks: How many of them, K.
        mean: Weight w₁ of the class-mean block.
        second: Weight w₂ of the second-moment block; 0 leaves it out.
        counts: Weight w₀ of the number of records in each class; 0 leaves it out, and the classes
            are then taken to be of one size. w₀ + w₁ + w₂ = 1.
        batch: Records at a time. Every batch is padded to this size, so that a record meets the
            same arithmetic whatever batch and shard it travels in. A multiple of 64: of other
            numbers, kernels round the last rows in their own way (`moc.evidence.isolation` looks).
    """

    bank: Bank
    networks: int
    mean: float = 1.0
    second: float = 0.0
    counts: float = 0.0
    batch: int = 256

    def __post_init__(self) -> None:
        """Check the weights, and that all networks have as many features."""
        weights = (self.mean, self.second, self.counts)
        if min(weights) < 0 or not math.isclose(sum(weights), 1.0):
            raise PrivacyError(
                "Block weights of a release must be non-negative and sum to one, "
                f"found {self.mean}, {self.second} and {self.counts}."
            )
        kinds = range(min(self.networks, len(self.bank.specs)))
        if len(sizes := {self.bank.member(k).dimension for k in kinds}) > 1:
            raise PrivacyError(
                "The networks of a release need the same number of features, "
                f"found {sorted(sizes)}: choose architectures that agree in it."
            )

    @property
    def triangle(self) -> int:
        """Number of second-moment coordinates of one network."""
        p = self.bank.member(0).compact_dimension
        return p * (p + 1) // 2 if self.second > 0 else 0

    def words(self) -> str:
        """What is summed, for the ledger: a release under other networks is another release."""
        bank = self.bank
        names = ", ".join(spec.name for spec in bank.specs)
        augmented = "" if bank.augmentation is None else ", augmented"
        second = f", second moments of {bank.width or 'all'} features" if self.second > 0 else ""
        counts = f", {self.counts:g} for class counts" if self.counts > 0 else ""
        return (
            f"{self.networks} public networks ({names}, seed {bank.seed}{augmented}{second}; "
            f"block weights {self.mean:g} and {self.second:g}{counts})"
        )

    def zeros(self) -> Sums:
        """The sums of no records."""
        shape = (self.networks, len(self.bank.info.classes), self.bank.member(0).dimension)
        return Sums(
            first=torch.zeros(shape, dtype=torch.int64),
            second=torch.zeros(self.networks, self.triangle, dtype=torch.int64),
            counts=torch.zeros(shape[1] if self.counts > 0 else 0, dtype=torch.int64),
        )

    def sums(
        self,
        records: Records,
        *,
        attack: RecordAttack | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Sums:
        """Sum the contributions of all records in one pass, in memory independent of N.

        Args:
            records: Records of T, or a shard of them.
            attack: Applied to every record before the statistics, and so before the clip.
            progress: Told (records done, records in all) after every batch.

        Raises:
            PrivacyError: If a record holds NaN or infinity.
        """
        total = self.zeros().to(self.bank.device)
        for done, x, y in self._batches(records):
            features = self._features(x, y, attack)
            scale = self._clip_factors(features)
            for k, phi in enumerate(features):
                self._accumulate(total, k, phi, scale, y)
            if self.counts > 0:
                ones = scale.new_ones(len(y), 1)
                counted = to_grid(ones, math.sqrt(self.counts) * scale[: len(y)])
                total.counts.index_add_(0, y, counted[:, 0])
            if progress is not None:
                progress(done, len(records.y))
        return total.to("cpu")

    def _batches(self, records: Records) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Padded records (batch, *shape) in [0, 1]; labels (n <= batch,) of those that are real."""
        for start in range(0, len(records.y), self.batch):
            x, y = records.x[start : start + self.batch], records.y[start : start + self.batch]
            x = as_unit(x)
            if not torch.isfinite(x).all():
                raise PrivacyError("A record holds NaN or infinity; it cannot be clipped.")
            padding = x.new_zeros(self.batch - len(y), *x.shape[1:])
            x, y = torch.cat([x, padding]).to(self.bank.device), y.to(self.bank.device)
            yield start + len(y), x, y

    def _features(self, x: Tensor, y: Tensor, attack: RecordAttack | None) -> list[Tensor]:
        """Features (batch, d) float64 under every network, of the attacked records if any are."""
        padded = torch.cat([y, y.new_zeros(self.batch - len(y))])
        features = []
        for k in range(self.networks):
            member = self.bank.member(k)
            seen = x if attack is None else attack(k, member, x, padded)
            with torch.no_grad():
                features.append(member(seen).double())
        return features

    def _clip_factors(self, features: list[Tensor]) -> Tensor:
        """min(1, C / ‖v_i‖) for each record (batch,); zero for a record that is not finite."""
        device = self.bank.device
        square = torch.full((self.batch,), self.counts, dtype=torch.float64, device=device)
        for k, phi in enumerate(features):
            square += self.mean / self.networks * phi.square().sum(1)
            if self.second > 0:
                psi = self.bank.member(k).compact(phi)
                square += self.second / self.networks * psi.square().sum(1).square()
        # The margin covers float64 rounding between this norm and that of the coordinates.
        factors = (CLIP / (square.sqrt() * (1 + 1e-9))).clamp(max=1.0)
        return torch.where(torch.isfinite(square), factors, 0.0)

    def _accumulate(self, total: Sums, k: int, phi: Tensor, scale: Tensor, y: Tensor) -> None:
        """Add what the records with labels `y` contribute; only then is the padding cut off."""
        first = to_grid(phi, math.sqrt(self.mean / self.networks) * scale)
        total.first[k].index_add_(0, y, first[: len(y)])
        if self.second > 0:
            products = vech(self.bank.member(k).compact(phi))
            second = to_grid(products, math.sqrt(self.second / self.networks) * scale)
            total.second[k] += second[: len(y)].sum(0)

    def normalise(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor | None]:
        """Undo weights and grid: class sums over N (K, c, d) and second moments (K, p, p) or None.

        Args:
            first: Sums in grid steps (K, c, d), float64, with or without noise.
            second: Likewise (K, p(p+1)/2).
        """
        unit = GRID * self.bank.info.count
        sums = first / (unit * math.sqrt(self.mean / self.networks)) if self.mean > 0 else first * 0
        if self.second == 0:
            return sums.float(), None
        matrix = unvech(second / (unit * math.sqrt(self.second / self.networks)))
        return sums.float(), matrix.float()
