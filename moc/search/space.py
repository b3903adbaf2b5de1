"""The space that a search explores: named variables behind the coordinates of a unit box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch.quasirandom import SobolEngine

Point = dict[str, float]
"""What a search proposes, by variable: the weight of each loss but the first, which has the rest,
and for every choice the number of what was chosen.

The same dict goes through the ledger to every view.
"""

_GRID = 65
"""Values that compete where there is one coordinate."""

_CANDIDATES = 256
"""Points that compete where there are several."""

_FEW = 9
"""Least number of them for each recipe."""


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
    """What may be searched: the weights of the losses, and choices, which make a recipe.

    A point of a recipe that was tried already is cheap; a new recipe costs a curve.

    Attributes:
        weights: The variable.
        choices: How many values each choice has; their order is that of a coordinate, so numbers
            should rise.
        recipe_cost: What a new recipe costs, in points of one that was tried.
    """

    weights: Weights
    choices: Mapping[str, int] = field(default_factory=dict)
    recipe_cost: float = 0.0

    @classmethod
    def over(cls, *losses: str) -> Space:
        """The weights of these losses."""
        return cls(Weights(names=losses))

    @property
    def dimension(self) -> int:
        """Number of unit-box coordinates: those of the weights, then one a choice."""
        return self.weights.dimension + len(self.choices)

    def decode(self, u: Sequence[float]) -> Point:
        """The point at these coordinates (dimension,) in [0, 1]."""
        chosen = {
            name: float(min(int(min(max(share, 0.0), 1.0) * count), count - 1))
            for (name, count), share in zip(
                self.choices.items(), u[self.weights.dimension :], strict=True
            )
        }
        return self.weights.decode(u[: self.weights.dimension]) | chosen

    def encode(self, point: Mapping[str, float]) -> tuple[float, ...]:
        """Inverse of `decode`; what was chosen is in the middle of its part of the coordinate."""
        chosen = [(point[name] + 0.5) / count for name, count in self.choices.items()]
        return (*self.weights.encode(point), *chosen)

    def point(self, weights: Sequence[float]) -> Point:
        """The point with these weights of all losses, and the first value of every choice."""
        found = dict(zip(self.weights.names[1:], map(float, weights[1:]), strict=True))
        return found | dict.fromkeys(self.choices, 0.0)

    def place(self, point: Mapping[str, float]) -> Point:
        """The part of a point that is a place on a curve."""
        return {name: point[name] for name in self.weights.names[1:]}

    def choice(self, point: Mapping[str, float]) -> Point:
        """The part that is a recipe."""
        return {name: point[name] for name in self.choices}

    def recipe(self, point: Mapping[str, float]) -> int:
        """The part that is a recipe, by its number; 0 has the first value of every choice."""
        number = 0
        for name, count in self.choices.items():
            number = number * count + int(point[name])
        return number

    def cost(self, point: Mapping[str, float], tried: Sequence[Mapping[str, float]]) -> float:
        """What a point costs after those that were tried: 1, or more where its recipe is new."""
        new = self.recipe(point) not in map(self.recipe, tried)
        return 1.0 + (self.recipe_cost if new else 0.0)

    def candidates(self) -> list[Point]:
        """Points that an engine may compare: for each recipe a grid, or a Sobol sequence."""
        recipes = self.recipes
        return [point | recipe for recipe in recipes for point in self._weightings(len(recipes))]

    @property
    def recipes(self) -> list[Point]:
        """All recipes, in the order of their numbers."""
        options = [range(count) for count in self.choices.values()]
        return [
            dict(zip(self.choices, map(float, chosen), strict=True)) for chosen in product(*options)
        ]

    def _weightings(self, recipes: int) -> list[Point]:
        """Weights alone: a grid of one coordinate; else the corners and a Sobol sequence."""
        weights = self.weights
        if weights.dimension == 1:
            count = _GRID if recipes == 1 else max(_CANDIDATES // recipes, _FEW)
            return [weights.decode((k / (count - 1),)) for k in range(count)]
        drawn = SobolEngine(weights.dimension, scramble=True, seed=0).draw(
            max(_CANDIDATES // recipes, _FEW), dtype=torch.float64
        )
        names = weights.names
        alone = [{name: float(name == own) for name in names[1:]} for own in names]
        return [*alone, *(weights.decode(u) for u in drawn.tolist())]


def recipes_of(choices: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All recipes, in the order of their numbers: the value of every choice."""
    return [dict(zip(choices, chosen, strict=True)) for chosen in product(*choices.values())]
