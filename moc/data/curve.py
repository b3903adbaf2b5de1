"""A Pareto curve of synthetic sets: a Bézier simplex, each point of which is an ordinary set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import torch
from torch import Tensor

from moc.data.declared import DataInfo
from moc.data.decoder import AS_STORED, Decoder
from moc.data.storage import load_tensors, save_tensors
from moc.data.synthetic import SyntheticSet
from moc.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Control sets P_i, and with them S(w) = Σ B_i(w) P_i for every w on the simplex of m losses.

    B_i are the Bernstein polynomials of a degree d (Bézier simplices of Kobayashi et al., AAAI
    2019): not negative, with sum one, so that S(w) lies in [0, 1] as its control sets do. A
    corner of the simplex is a control set itself; see `corners`.

    Attributes:
        info: Public facts about the data set that the sets stand for.
        losses: Names of the m losses that the front trades off.
        degree: The degree d.
        x: Stored records of the control sets (P, M, *shape) in [0, 1], P = (m + d - 1 over d).
        labels: Logits of their labels (P, M, c) where these are learned; else the labels
            (1, M, c), which all sets share.
        decoder: Turns stored records into training records.
    """

    info: DataInfo
    losses: tuple[str, ...]
    degree: int
    x: Tensor
    labels: Tensor
    decoder: Decoder = AS_STORED

    def __post_init__(self) -> None:
        """Check that there are as many control sets as the degree asks for."""
        wanted = len(exponents(len(self.losses), self.degree))
        shape = (wanted, self.x.shape[1], len(self.info.classes))
        fits = self.x.shape[0] == wanted and self.labels.shape in (shape, (1, *shape[1:]))
        if not fits or self.x.shape[2:] != self.info.shape:
            raise DataError(
                f"A curve of {wanted} control sets of records {self.info.shape} and labels {shape} "
                f"expected, found {tuple(self.x.shape)} and {tuple(self.labels.shape)}."
            )

    def at(self, **weights: float) -> SyntheticSet:
        """The set S(w), an ordinary synthetic set: `curve.at(robust_error=0.3)`.

        Args:
            weights: Weight of every loss but the first, which has the rest; they are not negative,
                and their sum is at most one.

        Raises:
            DataError: If they are not.
        """
        others = self.losses[1:]
        total = sum(weights.values())
        if set(weights) != set(others) or min(weights.values()) < 0 or total > 1 + 1e-6:
            raise DataError(
                f"A point of this curve is a weight of {' and of '.join(others)}, from 0 to 1 "
                f"together; found {weights}."
            )
        row = (max(1 - total, 0.0), *(weights[name] for name in others))
        basis = bernstein(torch.tensor([row], dtype=self.x.dtype), self.degree)[0]
        labels = self.labels[0]
        if len(self.labels) > 1:
            labels = torch.einsum("p,pmc->mc", basis, self.labels).softmax(-1)
        x = torch.einsum("p,p...->...", basis, self.x).clamp(0.0, 1.0)
        return SyntheticSet(info=self.info, x=x, labels=labels.clone(), decoder=self.decoder)


def exponents(losses: int, degree: int) -> list[tuple[int, ...]]:
    """Exponents of every Bernstein polynomial of m variables: (P, m), each with sum d."""
    found = combinations_with_replacement(range(losses), degree)
    return [tuple(places.count(k) for k in range(losses)) for places in found]


def corners(losses: int, degree: int) -> list[int]:
    """Number of the control set that is the set of each loss alone (m,)."""
    rows = exponents(losses, degree)
    return [rows.index(tuple(degree * (k == own) for k in range(losses))) for own in range(losses)]


def bernstein(weights: Tensor, degree: int) -> Tensor:
    """Bernstein polynomials at points on the simplex: weights (n, m) to (n, P); rows sum to one."""
    rows = exponents(weights.shape[1], degree)
    counts = [math.factorial(degree) // math.prod(map(math.factorial, row)) for row in rows]
    powers = weights.unsqueeze(1) ** weights.new_tensor(rows)
    return powers.prod(-1) * weights.new_tensor(counts)


def save_curve(curve: Curve, path: Path) -> Path:
    """Write a curve to `path` atomically."""
    tensors = {"x": curve.x, "labels": curve.labels}
    extra = {"losses": list(curve.losses), "degree": curve.degree}
    return save_tensors(tensors, path, info=curve.info, decoder=curve.decoder, extra=extra)


def load_curve(path: Path) -> Curve:
    """Read a curve that `save_curve` wrote.

    Raises:
        DataError: If there is no such file, or it is not a curve that moc stored.
    """
    tensors, described = load_tensors(path, "a curve of synthetic sets")
    try:
        return Curve(
            info=described.info,
            decoder=described.decoder,
            losses=tuple(described.extra["losses"]),
            degree=described.extra["degree"],
            **tensors,
        )
    except (DataError, KeyError) as error:
        raise DataError(f"{path} is not a curve of synthetic sets stored by moc. {error}") from None
