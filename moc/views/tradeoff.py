"""What moving from one trial to another gains and costs, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moc.evaluate.scores import error_of_difference
from moc.objectives.base import Objective
from moc.study.records import Trial


@dataclass(frozen=True, kw_only=True)
class TradeOff:
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


def trade_off(here: Trial, there: Trial, objectives: Mapping[str, Objective]) -> TradeOff:
    """Compare the validation scores of two trials.

    Standard errors of differences are paired by the networks that all trials meet
    (`error_of_difference`).
    """
    gains, costs, clear = [], [], False
    for name, objective in objectives.items():
        before, after = here.scores[name], there.scores[name]
        change, noise = after.mean - before.mean, error_of_difference(before, after)
        if change < -noise:
            gains.append(_lowered(objective, before.mean, after.mean, noise))
        elif change > noise:
            costs.append(_raised(objective, before.mean, after.mean, noise))
        clear = clear or change < -2 * noise
    return TradeOff(gains=tuple(gains), costs=tuple(costs), clear=clear)


def _lowered(objective: Objective, before: float, after: float, noise: float) -> str:
    if objective.exact:
        return f"{objective.words} {_ends(objective, before, after)}"
    return f"{objective.words} by {_points(objective, before - after, noise)}"


def _raised(objective: Objective, before: float, after: float, noise: float) -> str:
    if objective.exact:
        return f"a rise of {objective.words} {_ends(objective, before, after)}"
    return f"{_points(objective, after - before, noise)} of {objective.words}"


def _ends(objective: Objective, before: float, after: float) -> str:
    unit = objective.shown
    return f"from {unit.with_unit(before)} to {unit.with_unit(after)}"


def _points(objective: Objective, size: float, noise: float) -> str:
    unit = objective.shown
    return f"{unit.text(size)} ± {unit.text(noise)} {unit.step}".rstrip()
