"""Space-filling search: a scrambled Sobol sequence on the simplex of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import override

from moc.search.engines.base import Engine, EngineSettings
from moc.search.space import Point, Space


class Sobol(EngineSettings):
    """The points of one scrambled Sobol sequence, whatever they were worth."""

    kind: Literal["sobol"] = "sobol"

    @override
    def start(self, space: Space, *, objectives: int, seed: int) -> Engine:
        return SobolEngine(space, objectives=objectives, seed=seed)


class SobolEngine(Engine):
    """Asks for the points of one scrambled Sobol sequence.

    The sequence is extensible: a longer study has the shorter one's points as its first. The
    points are uniform on the simplex and never on its boundary, where smooth Tchebycheff weights
    reach weakly optimal points only.
    """

    @override
    def replay(self, asked: Sequence[Point], pending: Sequence[Point] = ()) -> None:
        """Record the answer: the sequence is drawn as far as the next ask needs it."""
        self._asked += asked

    @override
    def _propose(self, running: Sequence[Point]) -> Point | None:
        """Leave every choice to the sequence."""
        return None
