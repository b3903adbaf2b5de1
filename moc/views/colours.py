"""Colours and marks, the same in pictures and pages."""

from __future__ import annotations

from collections.abc import Sequence

GREY = "#b8bec6"
INK = "#22303c"
BASELINE = "#6b4f9e"
_LADDER = ((217, 72, 47), (236, 158, 46), (38, 150, 138), (58, 126, 196), (31, 62, 130))
"""From the largest epsilon (warm, light promise) to the smallest (cool, strong promise)."""


def rung_colours(rungs: Sequence[int]) -> dict[int, str]:
    """One colour a rung, distinguished by lightness too; an open study has the last one."""
    steps = len(_LADDER) - 1
    colours = {}
    for k, rung in enumerate(rungs):
        place = steps * (k / (len(rungs) - 1) if len(rungs) > 1 else 1.0)
        low = min(int(place), steps - 1)
        mixed = (
            round(a + (place - low) * (b - a))
            for a, b in zip(_LADDER[low], _LADDER[low + 1], strict=True)
        )
        colours[rung] = "#{:02x}{:02x}{:02x}".format(*mixed)
    return colours
