"""What moving from one trial to another gains and costs, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moc.evaluate.scores import OBJECTIVES
from moc.report.words import OBJECTIVE_WORDS, epsilon_words

if TYPE_CHECKING:
    from moc.study.records import Trial


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A move between two trials.

    Attributes:
        gains: What it lowers by more than one standard error, in words.
        costs: What it raises by more than one standard error, in words.
        clear: Whether anything is lowered by more than two standard errors.
    """

    gains: tuple[str, ...]
    costs: tuple[str, ...]
    clear: bool

    def __str__(self) -> str:
        """Return the move as the end of a sentence: `lowers ..., and costs ...`."""
        gains = " and ".join(self.gains) or "nothing beyond the noise"
        return f"lowers {gains}, and costs {' and '.join(self.costs) or 'nothing beyond the noise'}"


def exchange(here: Trial, there: Trial) -> Exchange:
    """Compare the validation scores of two trials.

    The standard error of a difference adds those of both trials in squares. That is cautious,
    because all trials are scored with common random numbers. Epsilon is exact; where it is
    infinite it is left out.
    """
    gains, costs, clear = [], [], False
    columns = (
        here.scores.values(),
        there.scores.values(),
        here.scores.errors(),
        there.scores.errors(),
    )
    for name, before, after, *noises in zip(OBJECTIVES, *columns, strict=True):
        if math.isinf(before) or math.isinf(after):
            continue
        change, noise = after - before, math.hypot(*noises)
        if change < -noise:
            gains.append(_lowered(name, before, after, noise))
        elif change > noise:
            costs.append(_raised(name, before, after, noise))
        clear = clear or change < -2 * noise
    return Exchange(gains=tuple(gains), costs=tuple(costs), clear=clear)


def _lowered(name: str, before: float, after: float, noise: float) -> str:
    if name == "epsilon":
        return f"epsilon from {epsilon_words(before)} to {epsilon_words(after)}"
    return f"{OBJECTIVE_WORDS[name]} by {_points(before - after, noise)}"


def _raised(name: str, before: float, after: float, noise: float) -> str:
    if name == "epsilon":
        return f"a rise of epsilon from {epsilon_words(before)} to {epsilon_words(after)}"
    return f"{_points(after - before, noise)} of {OBJECTIVE_WORDS[name]}"


def _points(size: float, noise: float) -> str:
    return f"{100 * size:.1f} ± {100 * noise:.1f} points"
