"""A plain grid: the same places on the curve of every recipe, one recipe after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Literal

import torch
from torch.quasirandom import SobolEngine as SobolGenerator
from typing_extensions import override

from moc.search.engines.base import Engine, EngineSettings
from moc.search.space import Point, Space

_ENDS = (0.5, 0.0, 1.0)
_PLACES = 129  # then it is left to a Sobol sequence


class Grid(EngineSettings):
    """Every recipe at one place on its curve, then every recipe at the next place, and so on.

    Of two losses the places are the middle, the ends, and then the middles of what is between; of
    more a Sobol sequence. To compare recipes, such as methods, and as a baseline for engines.
    """

    kind: Literal["grid"] = "grid"

    @override
    def start(self, space: Space, *, objectives: int, seed: int) -> Engine:
        return GridEngine(space, objectives=objectives, seed=seed)


class GridEngine(Engine):
    """Asks for the points of a grid, but for those that were tried."""

    @override
    def _propose(self, running: Sequence[Point]) -> Point | None:
        taken = [*running, *self._tried]
        for place in islice(_places(self.space, self.seed), _PLACES):
            points = [place | recipe for recipe in self.space.recipes]
            nearness = self._nearness(points, taken)
            for point, near in zip(points, nearness, strict=True):
                if near >= self.tolerance:
                    return point
        return None


def _places(space: Space, seed: int) -> Iterator[Point]:
    """Weights; without end, but where there is nothing to weigh."""
    weights = space.weights
    if weights.dimension == 0:
        yield {}
        return
    if weights.dimension == 1:
        for end in _ENDS:
            yield weights.decode((end,))
        for level in count(2):
            for odd in range(1, 2**level, 2):
                yield weights.decode((odd / 2**level,))
    sequence = SobolGenerator(weights.dimension, scramble=True, seed=seed)
    while True:
        yield weights.decode(sequence.draw(1, dtype=torch.float64)[0].tolist())
