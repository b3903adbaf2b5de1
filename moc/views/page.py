"""One self-contained HTML page for a study: opens anywhere, needs no network and no server."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from moc.data.storage import load_set
from moc.evaluate.scores import Scores
from moc.objectives.base import Objective
from moc.privacy.access import ADJACENCY
from moc.study.records import StudyRecord, Trial
from moc.views.base import View
from moc.views.checks import checks_word, sorted_curves
from moc.views.colours import BASELINE, GREY, INK, rung_colours
from moc.views.contact_sheet import contact_sheet
from moc.views.dial import dial_data, dial_section
from moc.views.figures import axes_of
from moc.views.recipes import belief_section, failed_section, recipes_section
from moc.views.robustness import curve_section, masking_section, protocol_section
from moc.views.words import (
    NOT_PROMISED,
    OPEN,
    OPEN_WARNING,
    PROMISE,
    epsilon_words,
    finite,
    rung_words,
    trial_epsilon,
    volume_checks,
    volume_words,
)

_PICTURED = 300
"""At most so many sets are shown as pictures: a page of thousands of them is never opened."""


def write_page(study: StudyRecord, path: Path) -> Path:
    """Write the report of a study, with contact sheets of its sets embedded, of the front first.

    Args:
        study: The study; the stored sets are read from its folder.
        path: The HTML file to write (about 5 MB, most of it plotly.js).

    Raises:
        DataError: If the stored set of a trial is missing or broken.
    """
    from plotly.offline import get_plotlyjs

    parts = {
        "name": html.escape(study.name),
        "lead": _lead(study),
        "facts": "".join(
            f"<div><dt>{html.escape(term)}</dt><dd>{html.escape(value)}</dd></div>"
            for term, value in _facts(study)
        ),
        "protocol": protocol_section(study),
        "dial": dial_section(study),
        "curves": curve_section(study),
        "masking": masking_section(study),
        "recipes": recipes_section(study),
        "belief": belief_section(study),
        "volume": _volume(study),
        "failed": failed_section(study),
        "privacy": _privacy(study),
        # No value may end the script element that holds it.
        "data": json.dumps(_data(study), allow_nan=False).replace("<", "\\u003c"),
        "plotly": get_plotlyjs(),
        "style": _part("page.css"),
        "script": _part("page.js") + _part("dial.js"),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _part("page.html"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _part(name: str) -> str:
    return files("moc.views").joinpath(name).read_text(encoding="utf-8")


def _lead(study: StudyRecord) -> str:
    state = "" if study.complete else " The study has not run to its end yet."
    state += "".join(f" {words}." for words in study.stopped.values())
    words = [one.words for one in study.objectives.values()]
    between = f"{', '.join(words[:-1])} and {words[-1]}"
    return html.escape(
        "Each synthetic set replaces the real data by a few records. This page shows what choosing "
        f"between low {between} costs.{state}"
    )


def _volume(study: StudyRecord) -> str:
    """How far the hypervolume is to be believed."""
    checks = volume_checks(study)
    less = f" With less of the luck of the choice: {checks}." if checks else ""
    return html.escape(f"At the end: {volume_words(study)}.{less}")


def _facts(study: StudyRecord) -> list[tuple[str, str]]:
    facts = [
        ("finished trials", str(len(study.trials))),
        ("sets on the front", str(len(study.front))),
    ]
    if study.trials:
        synthetic = load_set(study.folder / study.trials[0].set_path)
        facts.insert(0, ("real → synthetic records", f"{synthetic.info.count} → {len(synthetic)}"))
    if study.hypervolume:
        facts.append(("hypervolume", f"{study.hypervolume[-1]:.3f}"))
    if not study.is_private:
        return [*facts, ("privacy", OPEN)]
    return [
        *facts,
        ("epsilon, all sets together", epsilon_words(study.epsilon)),
        ("delta", f"{study.delta:g}"),
    ]


def _privacy(study: StudyRecord) -> str:
    """The privacy section: the ledger, and what epsilon promises and what it does not."""
    events = _list(study.privacy or ("No access is recorded.",), tag="ol")
    accesses = f"<div><h3>What was done with the real records</h3>{events}</div>"
    if not study.is_private:
        return (
            f'<section class="card open"><h2>Privacy: none</h2><p>{html.escape(OPEN_WARNING)}</p>'
            f'<div class="columns">{accesses}</div></section>'
        )
    total = f"{epsilon_words(study.epsilon)} at delta {study.delta:g}"
    return (
        f'<section class="card private"><h2>Privacy: epsilon {total}</h2>'
        "<p>This is the price of all sets of the study together; one set alone has the epsilon "
        "shown beside it. What is hidden is any one record; neighbouring data sets: "
        f'{html.escape(ADJACENCY)}.</p><div class="columns">'
        f"{accesses}<div><h3>What epsilon promises</h3><p>{html.escape(PROMISE)}</p></div>"
        f"<div><h3>What it does not promise</h3>{_list(NOT_PROMISED, tag='ul')}</div>"
        "</div></section>"
    )


def _list(items: Sequence[str], *, tag: str) -> str:
    return f"<{tag}>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</{tag}>"


def _data(study: StudyRecord) -> dict[str, Any]:
    """Everything that the page's script reads, as JSON types without infinities."""
    words = rung_words(study) or {0: OPEN}
    colours = rung_colours(list(words))
    places = {index: place for place, index in enumerate(words)}
    numbers = [trial.number for trial in study.trials]
    pictured = set([*dict.fromkeys([*study.front, *numbers])][:_PICTURED])
    return {
        "open": not study.is_private,
        "colours": {"grey": GREY, "ink": INK, "baseline": BASELINE},
        "objectives": [_objective(name, one) for name, one in study.objectives.items()],
        "axes": axes_of(study),
        "rungs": [{"words": words[index], "colour": colours[index]} for index in words],
        "trials": [
            _trial(study, trial, places)
            | {"sheet": _sheet(study, trial) if trial.number in pictured else ""}
            for trial in study.trials
        ],
        "baselines": [
            {
                "name": baseline.name,
                "validation": _scores(baseline.scores, study.objectives),
                "test": _scores(baseline.report, study.objectives),
            }
            for baseline in study.baselines
        ],
        "dial": dial_data(study),
        "hypervolume": list(study.hypervolume),
        "threat": study.config.get("threat", {}).get("eps"),
        "curves": [
            {
                "name": c.name,
                "eps": c.eps,
                "errors": [[finite(100 * e.mean), finite(100 * e.se)] for e in c.errors],
            }
            for c in sorted_curves(study)
        ],
    }


def _objective(name: str, objective: Objective) -> dict[str, Any]:
    return {
        "name": name,
        "words": objective.words,
        "heading": objective.heading,
        "suffix": objective.shown.suffix,
        "log": objective.scale == "log2",
        "exact": objective.exact,
    }


def _trial(study: StudyRecord, trial: Trial, places: Mapping[int, int]) -> dict[str, Any]:
    return {
        "name": trial.name,
        "front": trial.number in study.front,
        "chance": study.p_nondominated.get(trial.number),
        "rung": places[trial.rung_index],
        "epsilon": finite(trial.epsilon),
        "epsilon_words": trial_epsilon(trial),
        "weights": trial.weights,
        "validation": _scores(trial.scores, study.objectives),
        "test": _scores(trial.report, study.objectives),
        "checks": checks_word(study, trial.number),
    }


def _sheet(study: StudyRecord, trial: Trial) -> str:
    """The contact sheet of a set, as base64."""
    sheet = io.BytesIO()
    contact_sheet(load_set(study.folder / trial.set_path)).save(sheet, "PNG")
    return base64.b64encode(sheet.getvalue()).decode()


def _scores(
    scores: Scores | None, objectives: Mapping[str, Objective]
) -> dict[str, list[float | None]] | None:
    """Mean and standard error of every objective as they are shown: shares in percent."""
    if scores is None:
        return None
    return {
        name: [
            finite(objectives[name].shown.factor * estimate.mean),
            None if objectives[name].exact else finite(objectives[name].shown.factor * estimate.se),
        ]
        for name, estimate in scores.items()
    }


class Page(View):
    """The report: one HTML page in the study folder."""

    kind: Literal["page"] = "page"

    @override
    def write(self, study: StudyRecord) -> str:
        path = write_page(study, study.folder / "report.html")
        return f"The report, to look at in a browser:   {path}"
