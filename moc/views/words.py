"""Numbers as a person reads them, the same in tables, pictures, pages and cards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from moc.evaluate.scores import Estimate, Scores
from moc.objectives.base import Objective
from moc.objectives.units import OPEN, UNITS
from moc.study.findings import Confirmation
from moc.study.records import StudyRecord, Trial

PROMISE = (
    "Epsilon bounds what the released evidence, and with it every synthetic set made from it, can "
    "tell about any one record: replacing it by nothing, the declared number of records staying as "
    "it is, changes the probability of any outcome by at most the factor exp(epsilon), apart from "
    "a probability of delta. It holds against readers of any skill and knowledge, now and later, "
    "and for any use of the sets."
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
    "from the operating system's entropy: not hardened against attacks on the numbers' last bits. "
    "Time, memory and files of the machine that holds the records are not covered either.",
    "Every study of these records adds to epsilon, further seeds and repeated runs among them, and "
    "so does what was computed from them elsewhere; their owner sees the total by `moc ledger`.",
)


def epsilon_words(epsilon: float) -> str:
    """Epsilon as a short number, or the word `open` where it is infinite."""
    return UNITS["epsilon"].text(epsilon)


def trial_epsilon(trial: Trial) -> str:
    """A trial's epsilon, with that of its rung where the ledger charges more."""
    words = epsilon_words(trial.epsilon)
    rung = OPEN if trial.rung is None else epsilon_words(trial.rung.epsilon)
    return words if rung in (words, OPEN) else f"{words} (rung {rung})"


def rung_words(study: StudyRecord) -> dict[int, str]:
    """For each rung that trials read, by index, the epsilon that is charged for its sets.

    That is more than the rung where scoring was paid for too; `open` where nothing is promised.
    """
    charged: dict[int, float] = {}
    for trial in study.trials:
        index = trial.rung_index
        charged[index] = max(trial.epsilon, charged.get(index, 0.0))
    return {index: epsilon_words(charged[index]) for index in sorted(charged)}


def percent(estimate: Estimate | None) -> str:
    """A share as `12.3 ± 0.4` percent; a dash where nothing was measured."""
    return UNITS["share"].estimate(estimate)


def scores_words(scores: Scores, objectives: Mapping[str, Objective]) -> str:
    """Every objective with its value, such as `clean error 12.3 ± 0.4 %, epsilon 4`."""
    return ", ".join(
        f"{one.words} {one.shown.estimate(scores[name])}{one.shown.suffix}"
        for name, one in objectives.items()
        if name in scores
    )


def finite(value: float) -> float | None:
    """The number, or None for what JSON and pictures cannot show: infinity, or not a number."""
    return value if math.isfinite(value) else None


def budget_words(study: StudyRecord) -> str:
    """What the whole study costs: its epsilon and delta, or that it promises nothing."""
    if not study.is_private:
        return "open study: no privacy is promised"
    return f"epsilon {epsilon_words(study.epsilon)} at delta {study.delta:g} for all sets together"


def shared_settings(study: StudyRecord) -> dict[str, Any]:
    """The study's settings as they are handed on: but for where its data and its ledger lie."""
    data = dict(study.config["data"])
    for key in ("source", "public_source"):
        data[key] = data.get(key) and {"kind": data[key]["kind"]}
    privacy = study.config["privacy"]
    return {**study.config, "data": data, "privacy": privacy and {**privacy, "ledger": None}}


def flat_settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names with short text: {"search.engine.kind": "sobol", ...}."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value):
            flat |= flat_settings({str(k): item for k, item in enumerate(value)}, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            flat[prefix + key] = ", ".join(map(str, value))
        else:
            flat[prefix + key] = str(value)
    return flat


def confirmation_words(study: StudyRecord, number: int) -> str:
    """A confirmation in a sentence, and in another what training under attack would give."""
    one, measured = study.confirmations[number], study.measured
    words = (
        f"Confirmed by {one.networks} fresh networks on {one.records} test records, under "
        f"{', '.join(one.attacks)} (suite {one.suite!r}): "
        f"{scores_words(one.scores, measured)}."
    )
    if one.hardened is None:
        return words
    return (
        f"{words} Another recipe, which the search has not seen: where every batch of training is "
        f"attacked ({one.hardened.training_attack}), {scores_words(one.hardened.scores, measured)} "
        f"under the same attacks (networks: {one.hardened.networks}).{_checked(one.hardened)}"
    )


def _checked(one: Confirmation) -> str:
    """The masking checks of a confirmation in a sentence of its own; empty if there are none."""
    return "" if one.masking is None else f" Masking checks there: {one.masking.describe()}."


def volume_words(study: StudyRecord) -> str:
    """The hypervolume, such as `0.369 (95 %: 0.351 to 0.380)`, or that there is none yet."""
    if not study.hypervolume:
        return "not measured yet"
    text, sure = f"{study.hypervolume[-1]:.3f}", study.volume
    return text if sure is None else f"{text} (95 %: {sure.low:.3f} to {sure.high:.3f})"


def volume_checks(study: StudyRecord) -> str:
    """What else says how far the hypervolume is to be believed; empty if nothing does."""
    sure, parts = study.volume, []
    if sure is not None and sure.halves is not None:
        parts.append(f"{sure.halves:.3f} if half of the networks choose the front and half measure")
    if sure is not None and sure.tested is not None:
        parts.append(f"{sure.tested:.3f} by fresh networks on test records")
    return "; ".join(parts)
