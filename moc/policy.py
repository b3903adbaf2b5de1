"""From a front to one set: limits first, then rules whose reasons can be said in words.

The rules are our own: pymoo 0.6.2 has the pseudo-weights (a constant objective makes them NaN) and
the trade-off rule (with a fixed neighbourhood, and silencing all warnings of the process); its
compromise is not written yet. Every array of values here has one row a trial and one column an
objective, all minimised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from moc.errors import PolicyError
from moc.evaluate.scores import OBJECTIVES
from moc.report.exchange import exchange
from moc.report.words import OBJECTIVE_WORDS, epsilon_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from moc.study.records import StudyRecord, Trial

Preference = Literal["balanced", "error", "robust_error", "epsilon"]
_LEAN = 0.6
"""Weight of the preferred objective in the pseudo-weight rule; the others share the rest."""

_EPSILON_SLACK = 1.0005
"""An accountant answers a little off the epsilon it was asked for; limits hold to four digits."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that is acceptable of each objective; None sets no limit.

    Attributes:
        error: Clean error, a share in [0, 1].
        robust_error: Error under attack, a share in [0, 1].
        epsilon: Epsilon at the study's delta.
    """

    error: float | None = None
    robust_error: float | None = None
    epsilon: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges; a share given in percent is the likely mistake."""
        for name in ("error", "robust_error"):
            limit = getattr(self, name)
            if limit is not None and not 0.0 <= limit <= 1.0:
                raise PolicyError(
                    f"The limit on {OBJECTIVE_WORDS[name]} should be a share in [0, 1], "
                    f"found {limit:g}. Thirty percent is 0.3."
                )
        if self.epsilon is not None and not self.epsilon > 0.0:
            raise PolicyError(f"The limit on epsilon should be positive, found {self.epsilon:g}.")

    def values(self) -> NDArray[np.float64]:
        """The limits in the order of `OBJECTIVES`, infinity where there is none."""
        limits = (getattr(self, name) for name in OBJECTIVES)
        return np.array([math.inf if limit is None else limit for limit in limits])

    def __str__(self) -> str:
        """Return the limits in words."""
        words = [
            f"{OBJECTIVE_WORDS[name]} ≤ {_value_words(name, limit)}"
            for name, limit in zip(OBJECTIVES, self.values(), strict=True)
            if math.isfinite(limit)
        ]
        return ", ".join(words) or "no limits"


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A trial that a policy could choose.

    Attributes:
        trial: The trial.
        reason: Why it is suggested, in words.
        next_step: What the cheapest move to another trial of the front would gain and cost.
        compared: Largest epsilon of the sets that took part in the choice: what a set costs
            together with the choice of it. Infinity in an open study.
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


def suggest(
    study: StudyRecord, limits: Limits, prefer: Preference = "balanced"
) -> list[Suggestion]:
    """Suggest up to three different trials of the front that keep within the limits.

    Decides on the validation scores that the search saw, never on test records.

    Args:
        study: The study; only the trials of its front are candidates.
        limits: What the choice must keep to.
        prefer: What matters most once the limits are kept.

    Returns:
        The best suggestion first. A trial that several rules choose appears once, with all reasons.

    Raises:
        PolicyError: If no trial of the front keeps within the limits: says which comes closest and
            what it misses; or if epsilon is limited or preferred in an open study.
    """
    front = [study.trial(number) for number in study.front]
    if not front:
        raise PolicyError(f"Study {study.name} has no finished trial to choose from; run it first.")
    if math.isinf(study.epsilon) and (limits.epsilon is not None or prefer == "epsilon"):
        raise PolicyError(
            f"Study {study.name} is open: no set of it has an epsilon, so none can be limited or "
            "preferred. Run a private study, or choose by error and robust error."
        )
    z = normalise(_columns(front))
    # Sets above the limit on epsilon take no part in the choice, so that it costs no more.
    pool = [k for k, trial in enumerate(front) if _excess(trial, limits)[2] <= 0]
    kept = [k for k in pool if _excess(front[k], limits).max() <= 0]
    if not kept:
        raise PolicyError(_closest_miss(front, limits))
    reasons: dict[int, list[str]] = {}
    scope = "" if str(limits) == str(Limits()) else " within the limits"
    rows = normalise(_columns([front[k] for k in pool]))[[pool.index(k) for k in kept]]
    for k, reason in _rules(rows, prefer, scope):
        if kept[k] in reasons or len(reasons) < 3:
            reasons.setdefault(kept[k], []).append(reason)
    return [
        Suggestion(
            trial=front[k],
            reason=f"{_sentence(words)}.{_certainty(study, front[k])}",
            next_step=_next_step(front, k, z, kept),
            compared=max(front[k].scores.epsilon for k in pool),
        )
        for k, words in reasons.items()
    ]


def _columns(trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Validation scores (trials, 3), or (trials, 2) without epsilon where it is infinite; log ε."""
    values = np.array([trial.scores.values() for trial in trials])
    if not np.isfinite(values[:, 2]).all():
        return values[:, :2]
    return np.column_stack([values[:, :2], np.log(values[:, 2])])


def _rules(z: NDArray[np.float64], prefer: Preference, scope: str) -> list[tuple[int, str]]:
    """Every rule's choice among the rows and its reason, in the order that the preference asks."""
    objectives = OBJECTIVES[: z.shape[1]]
    evenly, cost = compromise(z), trade_offs(z)
    even = (
        "most even compromise: in no objective more than "
        f"{z[evenly].max():.0%} of the way from the front's best value to its worst"
    )
    turn = int(cost.argmax())
    knee = "knee of the front: any other choice gives up at least "
    knee += f"{cost[turn]:.2g} times what it gains" if math.isfinite(cost[turn]) else "something"
    lowest = [
        (_lowest(z, k), f"lowest {OBJECTIVE_WORDS[objective]}{scope}")
        for k, objective in enumerate(objectives)
    ]
    rules = [(evenly, even), (turn, knee)]
    if prefer == "balanced":
        return rules + lowest
    place = objectives.index(prefer)
    weights = [(1.0 - _LEAN) / (len(objectives) - 1)] * len(objectives)
    weights[place] = _LEAN
    lean = f"leans towards low {OBJECTIVE_WORDS[prefer]} without giving up the rest"
    first = [lowest.pop(place), (preferred(z, weights), lean)]
    return first + rules + lowest


def _lowest(z: NDArray[np.float64], column: int) -> int:
    """Row with the lowest value of one objective; among equals, their compromise."""
    equals = np.flatnonzero(z[:, column] == z[:, column].min())
    return int(equals[compromise(z[equals])])


def _excess(trial: Trial, limits: Limits) -> NDArray[np.float64]:
    """How far each score lies above its limit; -inf where there is none."""
    limit = limits.values()
    limit[2] *= _EPSILON_SLACK
    values = np.where(np.isinf(limit), 0.0, trial.scores.values())
    return values - limit


def _closest_miss(front: Sequence[Trial], limits: Limits) -> str:
    """Say which trial comes closest to the limits, by the sum of misses relative to each limit."""
    scale = np.where(np.isinf(limits.values()), 1.0, np.maximum(limits.values(), 1e-3))
    trial = min(front, key=lambda t: (np.maximum(_excess(t, limits), 0) / scale).sum())
    misses = [
        f"its {OBJECTIVE_WORDS[name]} is {_value_words(name, value)}, "
        f"{_value_words(name, over, change=True)} above the limit"
        for name, value, over in zip(
            OBJECTIVES, trial.scores.values(), _excess(trial, limits), strict=True
        )
        if over > 0
    ]
    return (
        f"No trial of the front keeps within {limits}. Closest is {trial.name}: "
        f"{', and '.join(misses)}. Loosen that limit, or run more trials."
    )


def _value_words(name: str, value: float, *, change: bool = False) -> str:
    if name == "epsilon":
        return epsilon_words(float(value))
    return f"{f'{100 * value:.1f}'.removesuffix('.0')} {'points' if change else '%'}"


def _sentence(words: Sequence[str]) -> str:
    text = "; ".join(words)
    return text[0].upper() + text[1:]


def _certainty(study: StudyRecord, trial: Trial) -> str:
    chance = study.p_nondominated.get(trial.number)
    return "" if chance is None else f" On the front with probability {chance:.2f}."


def _next_step(
    front: Sequence[Trial], here: int, z: NDArray[np.float64], kept: Sequence[int]
) -> str:
    """Say the cheapest move from `here`: least lost for each unit of what it clearly gains."""
    steps = []
    for k, trial in enumerate(front):
        move = exchange(front[here], trial)
        if move.clear:
            change = z[k] - z[here]
            ratio = np.maximum(change, 0).sum() / np.maximum(-change, 0).sum()
            steps.append((k not in kept, ratio, k, move))
    if not steps:
        return "No other trial of the front is better in anything by more than two standard errors."
    outside, _, k, move = min(steps, key=lambda step: step[:2])
    note = " (outside the limits)" if outside else ""
    return f"Going to {front[k].name}{note} {move}."
