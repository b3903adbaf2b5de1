"""Measures of a front: who is not dominated, and the hypervolume (by moocore)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import moocore
import numpy as np

MARGIN = 1.1
"""The hypervolume's reference point, in units of (nadir - ideal) from the ideal point."""


@dataclass(frozen=True, kw_only=True)
class Frame:
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


def hypervolume(values: np.ndarray, *, frame: Frame) -> float:
    """Share of the frame that the rows dominate.

    Rows are normalised to (F - ideal) / (nadir - ideal); the volume dominated up to 1.1 on every
    axis is divided by 1.1**m, so that a row at the ideal point scores 1. The 1.1 lets a row at the
    nadir of one objective count by its others.

    Args:
        values: (n, m), minimised; rows with NaN or infinity are left out.
        frame: The frame, of m objectives.
    """
    ideal, nadir = np.array(frame.ideal), np.array(frame.nadir)
    if values.shape[1] != len(ideal):
        raise ValueError(f"Expected {len(ideal)} objectives, found {values.shape[1]}.")
    rows = (values[np.isfinite(values).all(axis=1)] - ideal) / (nadir - ideal)
    if not len(rows):
        return 0.0
    return float(moocore.hypervolume(rows, ref=[MARGIN] * len(ideal))) / MARGIN ** len(ideal)


def hypervolume_history(values: np.ndarray, *, frame: Frame) -> np.ndarray:
    """Hypervolume of the first 1, 2, ... n rows, shape (n,); see `hypervolume`."""
    return np.array(
        [hypervolume(values[: i + 1], frame=frame) for i in range(len(values))], dtype=float
    )
