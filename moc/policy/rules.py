"""From a front to one set: limits first, then rules whose reasons can be said in words.

The rules are our own: pymoo 0.6.2 has the pseudo-weights (a constant objective makes them NaN) and
the trade-off rule (with a fixed neighbourhood, and silencing all warnings of the process); its
compromise is not written yet. Every array of values here has one row a trial and one column an
objective, all minimised.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moc.errors import PolicyError
from moc.objectives.base import Objective
from moc.study.records import StudyRecord, Trial
from moc.study.standing import objective_values
from moc.views.tradeoff import trade_off

_LEAN = 0.6
"""Weight of the preferred objective in the pseudo-weight rule; the others share the rest."""

BALANCED = "balanced"
"""The preference for no objective in particular."""

Limits = Mapping[str, float]
"""The most that is acceptable of some objectives, by name; those left out have no limit."""


def check_limits(limits: Limits, study: StudyRecord) -> None:
    """Refuse limits that say nothing about this study.

    Raises:
        PolicyError: If an objective is not one of the study's, or a limit makes no sense.
    """
    for name, limit in limits.items():
        if name == "epsilon" and not study.is_private:
            raise PolicyError(
                f"Study {study.name} is open: no set of it has an epsilon, so none can be limited "
                "or preferred. Run a private study, or choose by its other objectives."
            )
        if name not in study.objectives:
            raise PolicyError(
                f"An objective of study {study.name} expected, {', '.join(study.objectives)}; "
                f"found {name!r}."
            )
        objective = study.objectives[name]
        objective.shown.check_limit(objective.words, limit)


def describe_limits(limits: Limits, objectives: Mapping[str, Objective]) -> str:
    """The limits in words."""
    words = [
        f"{one.words} ≤ {value_words(one, limits[name])}"
        for name, one in objectives.items()
        if name in limits
    ]
    return ", ".join(words) or "no limits"


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A trial that a policy could choose.

    Attributes:
        trial: The trial.
        reason: Why it is suggested, in words.
        next_step: What the cheapest move to another trial of the front would gain and cost.
        compared: Largest epsilon of the sets that took part in the choice, dominated ones among
            them: what a set costs together with the choice of it. Infinity in an open study.
    """

    trial: Trial
    reason: str
    next_step: str
    compared: float


def normalise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale each column to [0, 1] from ideal (0) to nadir (1); a constant column becomes 0."""
    span = np.ptp(values, axis=0)
    return (values - values.min(axis=0)) / np.where(span > 0, span, 1.0)


def compromise(z: NDArray[np.float64]) -> int:
    """Row nearest to the ideal point 0 in the Chebyshev distance; ties go to the smaller sum.

    Args:
        z: Normalised values (trials, objectives).
    """
    return int(np.lexsort((z.sum(axis=1), z.max(axis=1)))[0])


def trade_offs(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """What leaving each row costs at least, per unit gained: min over moves of loss / gain.

    Args:
        z: Normalised values (trials, objectives); no row dominates another.

    Returns:
        Ratios (trials,); infinity for a row from which no move gains anything.
    """
    change = z[None, :, :] - z[:, None, :]
    loss = np.maximum(change, 0.0).sum(axis=2)
    gain = np.maximum(-change, 0.0).sum(axis=2)
    ratio = np.full_like(loss, math.inf)
    np.divide(loss, gain, out=ratio, where=gain > 0)
    return ratio.min(axis=1)


def pseudo_weights(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where on the front each row lies, as weights that sum to one: w_i = (1 - z_i) / sum(1 - z).

    A row that is worst in everything has equal weights.
    """
    room = 1.0 - z
    total = room.sum(axis=1, keepdims=True)
    return np.where(total > 0, room / np.where(total > 0, total, 1.0), 1.0 / z.shape[1])


def preferred(z: NDArray[np.float64], weights: Sequence[float]) -> int:
    """Row whose pseudo-weights are nearest (L1) to `weights`."""
    return int(np.abs(pseudo_weights(z) - np.asarray(weights)).sum(axis=1).argmin())


def suggest(study: StudyRecord, limits: Limits, prefer: str = BALANCED) -> list[Suggestion]:
    """Suggest up to three different trials of the front that keep within the limits.

    Decides on the validation scores that the search saw, never on test records.

    Args:
        study: The study; only the trials of its front are candidates.
        limits: What the choice must keep to.
        prefer: The objective that matters most once the limits are kept, or `balanced`.

    Returns:
        The best suggestion first. A trial that several rules choose appears once, with all reasons.

    Raises:
        PolicyError: If no trial of the front keeps within the limits: says which comes closest and
            what it misses; or if a limit or preference does not go with the study.
    """
    check_limits(limits, study)
    if prefer != BALANCED:
        check_limits({prefer: 1.0}, study)
    front = [study.trial(number) for number in study.front]
    if not front:
        raise PolicyError(f"Study {study.name} has no finished trial to choose from; run it first.")
    z = normalise(_columns(front, study))
    # Sets above the limit on epsilon take no part in the choice, so that it costs no more. An
    # accounted epsilon is never above the rung that the study file asked for, so no slack is due.
    most = limits.get("epsilon", math.inf)
    pool = [k for k, trial in enumerate(front) if trial.epsilon <= most or not trial.is_private]
    kept = [k for k in pool if not _excess(front[k], limits)]
    if not kept:
        raise PolicyError(_closest_miss(front, limits, study.objectives))
    # The front itself was found by comparing all trials, those that are dominated too.
    compared = max(t.epsilon for t in study.trials if t.epsilon <= most or not t.is_private)
    reasons: dict[int, list[str]] = {}
    scope = " within the limits" if limits else ""
    rows = normalise(_columns([front[k] for k in pool], study))[[pool.index(k) for k in kept]]
    for k, reason in _rules(rows, prefer, scope, study.objectives):
        if kept[k] in reasons or len(reasons) < 3:
            reasons.setdefault(kept[k], []).append(reason)
    return [
        Suggestion(
            trial=front[k],
            reason=f"{_sentence(words)}.{_certainty(study, front[k])}",
            next_step=_next_step(study, front, k, z, kept),
            compared=compared,
        )
        for k, words in reasons.items()
    ]


def _columns(trials: Sequence[Trial], study: StudyRecord) -> NDArray[np.float64]:
    """Validation scores (trials, objectives) on the objectives' own scales."""
    return objective_values([trial.scores for trial in trials], study.objectives)[0]


def _rules(
    z: NDArray[np.float64], prefer: str, scope: str, objectives: Mapping[str, Objective]
) -> list[tuple[int, str]]:
    """Every rule's choice among the rows and its reason, in the order that the preference asks."""
    evenly, cost = compromise(z), trade_offs(z)
    even = (
        "most even compromise: in no objective more than "
        f"{z[evenly].max():.0%} of the way from the front's best value to its worst"
    )
    turn = int(cost.argmax())
    knee = "knee of the front: any other choice gives up at least "
    knee += f"{cost[turn]:.2g} times what it gains" if math.isfinite(cost[turn]) else "something"
    lowest = [
        (_lowest(z, k), f"lowest {objective.words}{scope}")
        for k, objective in enumerate(objectives.values())
    ]
    rules = [(evenly, even), (turn, knee)]
    if prefer == BALANCED:
        return rules + lowest
    place = list(objectives).index(prefer)
    weights = [(1.0 - _LEAN) / (len(objectives) - 1)] * len(objectives)
    weights[place] = _LEAN
    lean = f"leans towards low {objectives[prefer].words} without giving up the rest"
    first = [lowest.pop(place), (preferred(z, weights), lean)]
    return first + rules + lowest


def _lowest(z: NDArray[np.float64], column: int) -> int:
    """Row with the lowest value of one objective; among equals, their compromise."""
    equals = np.flatnonzero(z[:, column] == z[:, column].min())
    return int(equals[compromise(z[equals])])


def _excess(trial: Trial, limits: Limits) -> dict[str, float]:
    """How far each score lies above its limit, of those that do."""
    values = {**{name: one.mean for name, one in trial.scores.items()}, "epsilon": trial.epsilon}
    return {name: values[name] - most for name, most in limits.items() if values[name] > most}


def _closest_miss(
    front: Sequence[Trial], limits: Limits, objectives: Mapping[str, Objective]
) -> str:
    """Say which trial comes closest to the limits, by the sum of misses relative to each limit."""
    trial = min(
        front,
        key=lambda t: sum(
            over / max(limits[name], 1e-3) for name, over in _excess(t, limits).items()
        ),
    )
    advice = advice_on(_excess(trial, limits), objectives)
    misses = [
        f"its {objectives[name].words} is "
        f"{value_words(objectives[name], limits[name] + over)}, "
        f"{value_words(objectives[name], over, change=True)} above the limit"
        for name, over in _excess(trial, limits).items()
    ]
    return (
        f"No trial of the front keeps within {describe_limits(limits, objectives)}. Closest is "
        f"{trial.name}: {', and '.join(misses)}. Loosen that limit, or run more trials.{advice}"
    )


def advice_on(names: Iterable[str], objectives: Mapping[str, Objective]) -> str:
    """What else would lower these objectives, each in a sentence after a space."""
    return "".join(f" {one.advice}" for one in map(objectives.__getitem__, names) if one.advice)


def value_words(objective: Objective, value: float, *, change: bool = False) -> str:
    """A value or a change with its unit, short."""
    unit = objective.shown
    text = unit.text(value)
    text = text.removesuffix(".0") if unit.step else text
    return f"{text} {unit.step}" if change and unit.step else f"{text}{unit.suffix}"


def _sentence(words: Sequence[str]) -> str:
    text = "; ".join(words)
    return text[0].upper() + text[1:]


def _certainty(study: StudyRecord, trial: Trial) -> str:
    chance = study.p_nondominated.get(trial.number)
    return "" if chance is None else f" On the front with probability {chance:.2f}."


def _next_step(
    study: StudyRecord,
    front: Sequence[Trial],
    here: int,
    z: NDArray[np.float64],
    kept: Sequence[int],
) -> str:
    """Say the cheapest move from `here`: least lost for each unit of what it clearly gains."""
    steps = []
    for k, trial in enumerate(front):
        move = trade_off(front[here], trial, study.objectives)
        if move.clear:
            change = z[k] - z[here]
            ratio = np.maximum(change, 0).sum() / np.maximum(-change, 0).sum()
            steps.append((k not in kept, ratio, k, move))
    if not steps:
        return "No other trial of the front is better in anything by more than two standard errors."
    outside, _, k, move = min(steps, key=lambda step: step[:2])
    note = " (outside the limits)" if outside else ""
    return f"Going to {front[k].name}{note} {move}."
