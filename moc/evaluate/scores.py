"""What a finished synthetic set is worth, measured. Everything is minimised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured mean with its standard error (both in the unit of the measured quantity)."""

    mean: float
    se: float = 0.0

    def __format__(self, spec: str) -> str:
        """Format as `mean ± se` with the given format for both."""
        return f"{self.mean:{spec or '.3f'}} ± {self.se:{spec or '.3f'}}"


Scores = Mapping[str, Estimate]
"""Scores of one synthetic set: an estimate for every objective of its study, by name."""
