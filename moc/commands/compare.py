"""Two studies, or two exported sets, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moc.errors import PolicyError
from moc.evaluate.scores import Estimate
from moc.export import CARD
from moc.objectives.base import Objective, read_objectives
from moc.study.records import StudyRecord
from moc.views.words import budget_words, epsilon_words, flat_settings, volume_words

Rows = list[tuple[str, str, str]]
"""(what, of the first, of the second)."""
_NONE = "-"


def compare_studies(a: StudyRecord, b: StudyRecord) -> Rows:
    """What two studies reached, then the settings in which they differ."""
    rows: Rows = [("study", a.name, b.name)]
    rows += _paired("finished trials", (str(len(one.trials)) for one in (a, b)))
    rows += _paired("on the front", (str(len(one.front)) for one in (a, b)))
    rows += _paired("privacy", map(budget_words, (a, b)))
    same = list(a.objectives) == list(b.objectives) and a.is_private == b.is_private
    if same:  # the frames of hypervolumes are those of the objectives and rungs
        rows += _paired("hypervolume", map(volume_words, (a, b)))
    for name in dict.fromkeys([*a.objectives, *b.objectives]):
        shown = (a.objectives.get(name) or b.objectives[name]).shown
        rows += _paired(
            f"lowest {(a.objectives.get(name) or b.objectives[name]).words} found{shown.suffix}",
            (_best(one, name) for one in (a, b)),
        )
    return rows + _differing(a.config, b.config)


def compare_sets(a: Path, b: Path) -> Rows:
    """What two exported folders hold and are worth, by their cards.

    Raises:
        PolicyError: If one of them is no export.
    """
    one, two = _card(a), _card(b)
    rows: Rows = [("set", f"{one['study']} {one['trial']}", f"{two['study']} {two['trial']}")]
    same = one["sha256"] == two["sha256"]
    rows.append(("file", one["file"], f"{two['file']}{' (the same bytes)' if same else ''}"))
    for title, table, key in (
        ("stands for", "data", "name"),
        ("records of it", "data", "records"),
        ("shape", "data", "shape"),
        ("stored records", "synthetic", "records"),
        ("training records", "synthetic", "training_records"),
        ("labels", "synthetic", "labels"),
    ):
        rows += _paired(title, (str(card[table][key]) for card in (one, two)))
    rows += _paired("privacy", map(_guarantee, (one, two)))
    objectives = dict[str, Objective]()
    for card in (two, one):
        objectives |= read_objectives(card["settings"]["objectives"])
    for part in ("validation", "test"):
        for name, objective in objectives.items():
            if name != "epsilon":
                cells = (_cell(card["scores"][part], name, objective) for card in (one, two))
                rows += _paired(f"{objective.words}, {part}{objective.shown.suffix}", cells)
    rows += _paired("masking checks", (card["masking"]["words"] for card in (one, two)))
    return rows + _differing(one["settings"], two["settings"])


def _paired(title: str, cells: Any) -> Rows:  # noqa: ANN401 - any two words
    first, second = cells
    return [] if first == second == _NONE else [(title, first, second)]


def _best(study: StudyRecord, name: str) -> str:
    found = [trial.scores[name] for trial in study.trials if name in trial.scores]
    if not found or name not in study.objectives:
        return _NONE
    return study.objectives[name].shown.estimate(min(found, key=lambda one: one.mean))


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> Rows:
    one, two = flat_settings(a), flat_settings(b)
    keys = dict.fromkeys([*one, *two])
    return [
        (key, one.get(key, _NONE), two.get(key, _NONE))
        for key in keys
        if one.get(key) != two.get(key)
    ]


def _card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return {**card, "scores": card["scores"], "masking": card["masking"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise PolicyError(
            f"A study, or a folder that moc exported, with its {CARD}, expected at {folder}."
        ) from None


def _guarantee(card: Mapping[str, Any]) -> str:
    privacy = card["privacy"]
    if not privacy["private"]:
        return "none"
    words = epsilon_words(privacy["epsilon_with_choice"])
    return f"epsilon {words} at delta {privacy['delta']:g}"


def _cell(scores: Mapping[str, Any] | None, name: str, objective: Objective) -> str:
    if not scores or name not in scores:
        return _NONE
    mean, se = (float("nan") if value is None else value for value in scores[name])
    return objective.shown.estimate(Estimate(mean=mean, se=se))
