"""Space-filling search: a scrambled Sobol sequence on the simplex of weightings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moc.search.base import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moc.search.space import Weighting


class SobolEngine(Engine):
    """Asks for the points of one scrambled Sobol sequence, whatever it is told.

    The sequence is extensible: a longer study has the shorter one's points as its first. The
    points are uniform on the simplex and never on its boundary, where smooth Tchebycheff weights
    reach weakly optimal points only.
    """

    def _propose(self, running: Sequence[Weighting]) -> Weighting | None:  # noqa: ARG002
        """Leave every choice to the sequence."""
        return None
