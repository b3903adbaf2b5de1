"""The card of an exported set: what it is, what it is worth, what is guaranteed and what is not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from moc.data.declared import FACTS
from moc.evaluate.scores import Estimate
from moc.objectives.base import Objective, read_objectives
from moc.views.words import (
    NOT_PROMISED,
    OPEN_WARNING,
    PROMISE,
    epsilon_words,
    flat_settings,
    percent,
)

_LOAD = {
    "set.safetensors": """\
from pathlib import Path

from moc.data.storage import load_set

synthetic = load_set(Path("set.safetensors"))
x, labels = synthetic.training_records()""",
    "set.npz": """\
import numpy as np

arrays = np.load("set.npz")
x, labels = arrays["x"], arrays["labels"]""",
}
_UNCONFIRMED = (
    "Not confirmed under AutoAttack: its robust error may be some points higher. `moc choose` "
    "confirms what it exports."
)
_ROBUST = (
    "Robust error counts a record as wrong if any attack of the protocol finds a mistake within "
    "the perturbation that the settings name. It says nothing about larger perturbations, other "
    "kinds of change or attacks that were not run, and it holds for networks trained on this set "
    "as in the protocol: another architecture or recipe can be less robust."
)


def card_text(card: dict[str, Any]) -> str:
    """Write the card in Markdown.

    Args:
        card: The machine-readable card, as `moc.export` writes it to `card.json`.
    """
    data, synthetic = card["data"], card["synthetic"]
    settings = flat_settings(card["settings"])
    sections = [
        f"# {data['name']}, condensed to {synthetic['records']} records",
        _summary(card),
        "![The synthetic records, one row a class](contact_sheet.png)",
        _choice(card),
        "## Use",
        f"```python\n{_LOAD[card['file']]}\n```",
        _shapes(card),
        "Without moc: `load.py` gives the training records, `datasets.load_dataset` of this folder "
        "reads `train.parquet`, `croissant.json` describes it, and `sha256sum -c SHA256SUMS` says "
        "whether every file is as it was written.",
        "## What it is worth",
        _scores(card),
        "Mean ± standard error over networks trained from scratch on the set; lower is "
        "better. Validation records are held-out records that the search saw, so a chosen set "
        "looks slightly too good on them. Test values come from fresh networks on records that no "
        "choice has seen: quote those. Baselines are real records of the same number, scored in "
        "the same way; they are not private.",
        f"Protocol: {card['protocol']}",
        _ROBUST,
        (card["confirmation"] or {}).get("words", _UNCONFIRMED),
        _curve(card["curve"]),
        f"Masking checks of this set: {card['masking']['words']}.",
        "## Privacy",
        *_privacy(card["privacy"]),
        "## Settings of the study",
        "\n".join(["```", *(f"{k} = {v}" for k, v in settings.items()), "```"]),
        f"Made by moc {card['moc']}. SHA-256 of `{card['file']}`: `{card['sha256']}`.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _summary(card: dict[str, Any]) -> str:
    data, synthetic = card["data"], card["synthetic"]
    counts = synthetic["per_class"]
    spread = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return (
        f"A synthetic set that stands for the {data['records']} records of {data['name']} when a "
        f"classifier is trained: {synthetic['records']} records, {spread} a class, with "
        f"{synthetic['labels']} labels for {len(data['classes'])} classes. It is {card['trial']} "
        f"of study {card['study']}, made by multi-objective dataset condensation."
    )


def _choice(card: dict[str, Any]) -> str:
    place = "on the front of its study" if card["on_front"] else "dominated by another set"
    chance = card["p_nondominated"]
    certain = "" if chance is None else f" (probability of being non-dominated: {chance:.2f})"
    state = f" {card['stopped']}." if card["stopped"] else ""
    state += "" if card["complete"] else " The study had not run to its end."
    lines = [f"- {reason}" for reason in card["reasons"]]
    title = "Why this one was chosen:\n\n" if lines else ""
    return f"This set is {place}{certain}.{state}\n\n{title}" + "\n".join(lines)


def _shapes(card: dict[str, Any]) -> str:
    data, synthetic = card["data"], card["synthetic"]
    n = synthetic["training_records"]
    decoder = synthetic["decoder"]
    tiles = (
        f" Each of {synthetic['records']} stored records holds "
        f"{decoder['multi_formation'] ** 2} of them."
        if decoder["multi_formation"] > 1
        else ""
    )
    if decoder["noise_copies"] > 1:
        tiles += (
            f" Every record stands there {decoder['noise_copies']} times: once as it was "
            f"condensed, else under a public noise of ±{decoder['noise']:g} in every pixel. Train "
            "on all of them: that is how the set was scored."
        )
    shape = ", ".join(map(str, data["shape"]))
    return (
        f"`x` ({n}, {shape}) holds values in [0, 1], `labels` ({n}, {len(data['classes'])}) label "
        f"distributions.{tiles} Networks were trained on (x - mean) / std with the public "
        f"constants mean {data['mean']} and std {data['std']}. {_facts(data['taken'])}"
    )


def _facts(taken: Sequence[str]) -> str:
    """Which public facts were declared and which were taken from the records."""
    words = {"count": "the number of records", "classes": "the classes", "mean": "mean"}
    declared = [words.get(fact, fact) for fact in FACTS if fact not in taken]
    read = [words.get(fact, fact) for fact in taken]
    off = f" Taken from the records: {', '.join(read)}." if read else ""
    return f"Declared beforehand, or published: {', '.join(declared)}.{off}"


def _scores(card: dict[str, Any]) -> str:
    objectives = read_objectives(card["settings"]["objectives"])
    shown = {name: one for name, one in objectives.items() if name != "epsilon"}
    heads = " | ".join(one.heading for one in shown.values())
    rows = [f"| set | records scored | {heads} |", f"|---|---|{'---:|' * len(shown)}"]
    sets = [("**this set**", card["scores"])]
    sets += [(f"real, {name}", scores) for name, scores in card["baselines"].items()]
    for name, scores in sets:
        rows += [_row(name, where, own, shown) for where, own in scores.items() if own]
    return "\n".join(rows)


def _row(
    name: str, where: str, scores: Mapping[str, Any], objectives: Mapping[str, Objective]
) -> str:
    cells = [one.shown.estimate(_estimate(scores.get(key))) for key, one in objectives.items()]
    return f"| {name} | {where} | {' | '.join(cells)} |"


def _estimate(pair: Sequence[float | None] | None) -> Estimate | None:
    """A number and its standard error, either of which JSON may lack."""
    if pair is None:
        return None
    mean, se = (math.nan if value is None else value for value in pair)
    return Estimate(mean=mean, se=se)


def _curve(rows: list[dict[str, float | None]]) -> str:
    """Robust error against eps; empty where it was not measured."""
    if not rows:
        return ""
    cells = (
        [f"{row['eps']:g}" for row in rows],
        ["---:" for _ in rows],
        [percent(_estimate((row["robust_error"], row["robust_error_se"]))) for row in rows],
    )
    titles = ("eps", "---", "robust error %")
    table = (f"| {t} | {' | '.join(line)} |" for t, line in zip(titles, cells, strict=True))
    return "Against attacks of other sizes, on test records:\n\n" + "\n".join(table)


def _privacy(privacy: dict[str, Any]) -> list[str]:
    accesses = "Accesses to the real records:\n\n" + "\n".join(
        f"{k}. {line}" for k, line in enumerate(privacy["accesses"], start=1)
    )
    if not privacy["private"]:
        return [f"**None.** {OPEN_WARNING}", accesses]
    delta = f"{privacy['delta']:g}"
    study = epsilon_words(privacy["epsilon_study"])
    chosen = epsilon_words(privacy["epsilon_with_choice"])
    alone = epsilon_words(privacy["epsilon"])
    apart = (
        "- The set alone was made from the release's rung of epsilon "
        f"{alone}, and no score of a larger epsilon had a part in its weighting. Choosing it by "
        f"its scores, against sets of up to epsilon {chosen}, is what costs {chosen}.\n"
        if alone != chosen
        else ""
    )
    return [
        f"**This set and the choice of it are ({chosen}, {delta})-differentially private**: "
        f"epsilon {chosen} at delta {delta}.",
        f"{apart}- Neighbouring data sets: {privacy['adjacency']}.\n"
        f"- Unit of privacy: {privacy['unit']}.\n"
        f"- Accountant: {privacy['accountant']}.\n"
        f"- All sets of the study together cost epsilon {study} at delta {delta}: count with that "
        "where more than this one set is seen.",
        accesses,
        f"**What is guaranteed.** {PROMISE}",
        "**What is not guaranteed.**\n\n" + "\n".join(f"- {line}" for line in NOT_PROMISED),
    ]
