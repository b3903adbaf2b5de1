"""Measures of a front: who is not dominated, how surely, and the hypervolume (by moocore)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import moocore
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moc.evaluate.scores import Scores

MARGIN = 1.1
"""The hypervolume's reference point, in units of (nadir - ideal) from the ideal point."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The fixed frame of a hypervolume; hypervolumes compare only if their frames are equal.

    Attributes:
        ideal: The best value of each objective.
        nadir: The worst value of each objective that is still worth something.
    """

    ideal: tuple[float, ...]
    nadir: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that the ideal point is below the nadir."""
        finite = all(map(math.isfinite, [*self.ideal, *self.nadir]))
        if not finite or not all(i < n for i, n in zip(self.ideal, self.nadir, strict=True)):
            raise ValueError(f"Expected a finite ideal point below the nadir, found {self}.")

    @classmethod
    def for_study(cls, classes: int, epsilons: Sequence[float]) -> Reference:
        """The frame of every study with these classes and this ladder.

        Errors run from 0 to that of guessing, robust errors from 0 to 1, and log2 epsilon from one
        below the ladder's smallest (so that the smallest rung counts too) to its largest.

        Args:
            classes: Number of classes, at least 2.
            epsilons: The ladder, in any order; empty in an open study, which has two objectives.
        """
        if not epsilons:
            return cls(ideal=(0.0, 0.0), nadir=(1 - 1 / classes, 1.0))
        return cls(
            ideal=(0.0, 0.0, math.log2(min(epsilons)) - 1),
            nadir=(1 - 1 / classes, 1.0, math.log2(max(epsilons))),
        )


def objective_matrix(scores: Sequence[Scores]) -> np.ndarray:
    """Means as minimised objectives.

    Returns:
        (n, 3) with columns error, robust error, log2 epsilon; (n, 2) without epsilon if the
        scores are of an open study. (0, 3) if there are none.

    Raises:
        ValueError: Scores of open and of private sets together.
    """
    if len({score.is_private for score in scores}) == 2:
        raise ValueError("Expected scores of one study, found open and private sets together.")
    values = np.array([score.values() for score in scores], dtype=float).reshape(-1, 3)
    if scores and not scores[0].is_private:
        return values[:, :2]
    return np.column_stack([values[:, :2], np.log2(values[:, 2])])


def error_matrix(scores: Sequence[Scores]) -> np.ndarray:
    """Standard errors that go with `objective_matrix`, same shape; epsilon is exact."""
    columns = objective_matrix(scores).shape[1]
    errors = np.array([score.errors() for score in scores], dtype=float).reshape(-1, 3)
    return errors[:, :columns]


def nondominated(values: np.ndarray) -> np.ndarray:
    """Which rows no other row dominates (no worse anywhere, better somewhere); all minimised.

    Args:
        values: (n, m). Equal rows do not dominate each other. A row with NaN or infinity neither
            dominates nor is part of the front.

    Returns:
        Mask (n,), bool.
    """
    mask = np.asarray(np.isfinite(values).all(axis=1))
    if mask.any():
        mask[mask] = moocore.is_nondominated(values[mask], keep_weakly=True)
    return mask


def hypervolume(values: np.ndarray, *, reference: Reference) -> float:
    """Share of the frame that the rows dominate.

    Rows are normalised to (F - ideal) / (nadir - ideal); the volume dominated up to 1.1 on every
    axis is divided by 1.1**m, so that a row at the ideal point scores 1. The 1.1 lets a row at the
    nadir of one objective count by its others.

    Args:
        values: (n, m), minimised; rows with NaN or infinity are left out.
        reference: The frame, of m objectives.
    """
    ideal, nadir = np.array(reference.ideal), np.array(reference.nadir)
    if values.shape[1] != len(ideal):
        raise ValueError(f"Expected {len(ideal)} objectives, found {values.shape[1]}.")
    rows = (values[np.isfinite(values).all(axis=1)] - ideal) / (nadir - ideal)
    if not len(rows):
        return 0.0
    return float(moocore.hypervolume(rows, ref=[MARGIN] * len(ideal))) / MARGIN ** len(ideal)


def hypervolume_history(values: np.ndarray, *, reference: Reference) -> np.ndarray:
    """Hypervolume of the first 1, 2, ... n rows, shape (n,); see `hypervolume`."""
    return np.array(
        [hypervolume(values[: i + 1], reference=reference) for i in range(len(values))], dtype=float
    )


def probability_nondominated(
    values: np.ndarray, errors: np.ndarray, *, draws: int = 1000, seed: int
) -> np.ndarray:
    """How often each row is on the front when all are measured again.

    Each draw adds independent Gaussian noise of the given standard errors to all values at once.

    Args:
        values: (n, m) means, minimised.
        errors: (n, m) standard errors, 0 where a value is exact.
        draws: Number of draws; the result's own standard error is at most 0.5 / sqrt(draws).
        seed: Public, not negative.

    Returns:
        (n,) in [0, 1]; 0 for rows with NaN or infinity.
    """
    generator = np.random.default_rng(seed)
    wins = np.zeros(len(values))
    for _ in range(draws):
        wins += nondominated(values + errors * generator.standard_normal(values.shape))
    return wins / draws
