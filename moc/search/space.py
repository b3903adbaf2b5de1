"""The space that a search explores: named variables behind the coordinates of a unit box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.quasirandom import SobolEngine

Point = dict[str, float]
"""What a search proposes, by variable: the weight of each loss but the first, which has the rest.

The same dict goes through the ledger to every view.
"""

_GRID = 65
"""Values that compete where there is one coordinate."""

_CANDIDATES = 256
"""Points that compete where there are several."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of losses on the simplex.

    Attributes:
        names: The losses.
    """

    names: tuple[str, ...]

    @property
    def dimension(self) -> int:
        """Number of coordinates: one less than losses."""
        return len(self.names) - 1

    def decode(self, u: Sequence[float]) -> Point:
        """Map coordinates in [0, 1] to the simplex; uniform ones to uniform weights.

        Sticks are broken off one after the other, the last loss first: of m losses the last takes
        1 - (1 - u)^(1/(m-1)) of the whole, and so on. Of two losses the second has the weight u.
        """
        rest, point = 1.0, {}
        for place in range(self.dimension, 0, -1):
            share = min(max(u[place - 1], 0.0), 1.0)
            taken = rest * (share if place == 1 else 1.0 - (1.0 - share) ** (1.0 / place))
            point[self.names[place]] = taken
            rest -= taken
        return {name: point[name] for name in self.names[1:]}

    def encode(self, point: Mapping[str, float]) -> tuple[float, ...]:
        """Inverse of `decode`."""
        rest, u = 1.0, []
        for place in range(self.dimension, 0, -1):
            taken = point[self.names[place]]
            share = min(max(taken / rest, 0.0), 1.0) if rest > 1e-12 else 0.0
            u.append(share if place == 1 else 1.0 - (1.0 - share) ** place)
            rest -= taken
        return tuple(reversed(u))

    def values(self, point: Mapping[str, float]) -> tuple[float, ...]:
        """The weight of every loss, in order; they sum to one."""
        others = [point[name] for name in self.names[1:]]
        return (max(1.0 - sum(others), 0.0), *others)

    def named(self, point: Mapping[str, float]) -> dict[str, float]:
        """The same by loss."""
        return dict(zip(self.names, self.values(point), strict=True))


@dataclass(frozen=True)
class Space:
    """What may be searched: the weights of the losses.

    Attributes:
        weights: The variable.
    """

    weights: Weights

    @classmethod
    def over(cls, *losses: str) -> Space:
        """The weights of these losses."""
        return cls(Weights(names=losses))

    @property
    def dimension(self) -> int:
        """Number of unit-box coordinates."""
        return self.weights.dimension

    def decode(self, u: Sequence[float]) -> Point:
        """The point at these coordinates (dimension,) in [0, 1]."""
        return self.weights.decode(u)

    def encode(self, point: Mapping[str, float]) -> tuple[float, ...]:
        """Inverse of `decode`."""
        return self.weights.encode(point)

    def point(self, weights: Sequence[float]) -> Point:
        """The point with these weights of all losses."""
        return dict(zip(self.weights.names[1:], map(float, weights[1:]), strict=True))

    def candidates(self) -> list[Point]:
        """Points that an engine may compare: a grid, or a Sobol sequence with the corners."""
        if self.dimension == 1:
            return [self.decode((k / (_GRID - 1),)) for k in range(_GRID)]
        drawn = SobolEngine(self.dimension, scramble=True, seed=0).draw(
            _CANDIDATES, dtype=torch.float64
        )
        count = self.dimension + 1
        corners = [self.point([float(k == own) for k in range(count)]) for own in range(count)]
        return [*corners, *(self.decode(u) for u in drawn.tolist())]
