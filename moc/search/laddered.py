"""One search for each rung of a ladder, so that a trial's weighting keeps to its rung.

A set made from a rung costs that rung's epsilon only if nothing about it was decided by looking at
rungs above. An engine that searches over all rungs at once decides the next weighting by all
scores, also those of sets with a larger epsilon: what it asks for would be covered by the largest
epsilon alone. Here every rung has an engine of its own, which sees the scores of its rung only, and
the number of trials of each rung is fixed beforehand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moc.search.base import Engine, make_engine
from moc.search.space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moc.search.space import Weighting


class LadderedSearch:
    """Asks for the robust share on every rung in turn; the interface is that of `Engine`."""

    def __init__(self, name: str, space: SearchSpace, *, seed: int, **settings: object) -> None:
        """Search a private space by one engine `name` a rung; see `make_engine`."""
        self.space = space
        rungs = range(len(space.epsilons))
        self._engines: list[Engine] = [
            make_engine(name, SearchSpace(), seed * len(rungs) + rung, **settings) for rung in rungs
        ]
        self._asked = 0

    def ask(self, n: int) -> list[Weighting]:
        """The next n points, rung after rung, largest epsilon first."""
        return [self._next() for _ in range(n)]

    def replay(self, asked: Sequence[Weighting]) -> None:
        """Repeat an earlier `ask` whose answer is known."""
        for weighting in asked:
            rung = self._take_turn()
            self._engines[rung].replay([_flat(weighting)])

    def tell(self, weighting: Weighting, values: Sequence[float], errors: Sequence[float]) -> None:
        """Report a finished trial to the engine of its rung, and to no other."""
        rung = weighting.rung(self.space.epsilons)
        self._engines[rung].tell(_flat(weighting), values, errors)

    def _next(self) -> Weighting:
        rung = self._take_turn()
        return self.space.on_rung(self._engines[rung].ask(1)[0].robust_share, rung)

    def _take_turn(self) -> int:
        rung = self._asked % len(self._engines)
        self._asked += 1
        return rung


def _flat(weighting: Weighting) -> Weighting:
    """The same robust share in the one-dimensional space of a rung's engine."""
    share = weighting.robust_share
    return replace(weighting, generalization=1.0 - share, adversarial=share, privacy=0.0)
