"""Numbers as a person reads them, the same in tables, pictures, pages and cards."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moc.evaluate.scores import Estimate
    from moc.study.records import StudyRecord, Trial

OPEN = "open"
"""The word for an infinite epsilon: no privacy is promised, so no number is shown."""

OBJECTIVE_WORDS = {"error": "clean error", "robust_error": "robust error", "epsilon": "epsilon"}

PROMISE = (
    "Epsilon bounds what the released evidence, and with it every synthetic set made from it, can "
    "tell about any one record: adding or removing that record changes the probability of any "
    "outcome by at most the factor exp(epsilon), apart from a probability of delta. It holds "
    "against readers of any skill and knowledge, now and later, and for any use of the sets."
)
OPEN_WARNING = (
    "This study is open: the real records were read without noise. Its synthetic sets may reveal "
    "any of them, and carry no privacy guarantee. They are not private."
)
NOT_PROMISED = (
    "Records declared public (those the sets are scored on, unless the ledger lists a charge for "
    "scoring) and constants declared public (counts, classes, normalisation) are not protected.",
    "The unit is one record. A person with several records is protected less: k records cost up "
    "to k times epsilon, at a larger delta.",
    "Facts about the population, which would come out the same without any one record, are not "
    "hidden; a good synthetic set is made of them.",
    "Unless the accesses name discrete noise on an integer grid, noise is drawn in floating point "
    "from the operating system's entropy: not hardened against attacks on the numbers' last bits.",
    "Anything else that was computed from these records outside this study adds to epsilon.",
)


def epsilon_words(epsilon: float | None) -> str:
    """Epsilon as a short number, or the word `open` where it is infinite or None."""
    return OPEN if epsilon is None or math.isinf(epsilon) else f"{epsilon:.4g}"


def trial_epsilon(trial: Trial) -> str:
    """A trial's epsilon, with the rung that it read where the ledger charges more than that."""
    words = epsilon_words(trial.scores.epsilon)
    rung = epsilon_words(trial.rung)
    return words if rung in (words, OPEN) else f"{words} (rung {rung})"


def rung_words(study: StudyRecord) -> dict[float | None, str]:
    """For each rung that trials read, the epsilon that the ledger charges for its sets, in words.

    That is more than the rung where scoring was paid for too; `open` where nothing is promised.
    """
    charged: dict[float | None, float] = {}
    for trial in study.trials:
        charged[trial.rung] = max(trial.scores.epsilon, charged.get(trial.rung, 0.0))
    return {rung: epsilon_words(epsilon) for rung, epsilon in charged.items()}


def percent(estimate: Estimate | None) -> str:
    """A share as `12.3 ± 0.4` percent; a dash where nothing was measured."""
    if estimate is None or not math.isfinite(estimate.mean):
        return "-"
    mean = f"{100 * estimate.mean:.1f}"
    return f"{mean} ± {100 * estimate.se:.1f}" if math.isfinite(estimate.se) else mean


def finite(value: float) -> float | None:
    """The number, or None for what JSON and pictures cannot show: infinity, or not a number."""
    return value if math.isfinite(value) else None


def budget_words(study: StudyRecord) -> str:
    """What the whole study costs: its epsilon and delta, or that it promises nothing."""
    if math.isinf(study.epsilon):
        return "open study: no privacy is promised"
    return f"epsilon {epsilon_words(study.epsilon)} at delta {study.delta:g} for all sets together"


def flat_settings(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names with short text: {"search.engine": "sobol", ...}."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            flat[prefix + key] = ", ".join(map(str, value))
        else:
            flat[prefix + key] = str(value)
    return flat
