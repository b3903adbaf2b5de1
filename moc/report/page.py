"""One self-contained HTML page for a study: opens anywhere, needs no network and no server."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from moc.data.storage import load_set
from moc.report.checks import checks_word, sorted_curves
from moc.report.palette import BASELINE, GREY, INK, rung_colours, rungs_of
from moc.report.robustness import curve_section, masking_section, protocol_section
from moc.report.sheet import contact_sheet
from moc.report.words import (
    NOT_PROMISED,
    OPEN,
    OPEN_WARNING,
    PROMISE,
    epsilon_words,
    finite,
    rung_words,
    trial_epsilon,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moc.evaluate.scores import Estimate, Scores
    from moc.study.records import StudyRecord, Trial


def write_page(study: StudyRecord, path: Path) -> Path:
    """Write the report of a study, with the contact sheet of every set embedded.

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
        "curves": curve_section(study),
        "masking": masking_section(study),
        "privacy": _privacy(study),
        # No value may end the script element that holds it.
        "data": json.dumps(_data(study), allow_nan=False).replace("<", "\\u003c"),
        "plotly": get_plotlyjs(),
        "style": _part("page.css"),
        "script": _part("page.js"),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _part("page.html"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _part(name: str) -> str:
    return files("moc.report").joinpath(name).read_text(encoding="utf-8")


def _lead(study: StudyRecord) -> str:
    state = "" if study.complete else " The study has not run to its end yet."
    return (
        "Each synthetic set replaces the real data by a few records. This page shows what choosing "
        "between low clean error, low error under attack and a low privacy budget costs." + state
    )


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
    if math.isinf(study.epsilon):
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
    if math.isinf(study.epsilon):
        return (
            f'<section class="card open"><h2>Privacy: none</h2><p>{html.escape(OPEN_WARNING)}</p>'
            f'<div class="columns">{accesses}</div></section>'
        )
    total = f"{epsilon_words(study.epsilon)} at delta {study.delta:g}"
    return (
        f'<section class="card private"><h2>Privacy: epsilon {total}</h2>'
        "<p>This is the price of all sets of the study together; one set alone has the epsilon "
        "shown beside it. What is hidden is whether any one record was there: neighbouring data "
        'sets differ by adding or removing one record.</p><div class="columns">'
        f"{accesses}<div><h3>What epsilon promises</h3><p>{html.escape(PROMISE)}</p></div>"
        f"<div><h3>What it does not promise</h3>{_list(NOT_PROMISED, tag='ul')}</div>"
        "</div></section>"
    )


def _list(items: Sequence[str], *, tag: str) -> str:
    return f"<{tag}>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</{tag}>"


def _data(study: StudyRecord) -> dict[str, Any]:
    """Everything that the page's script reads, as JSON types without infinities."""
    rungs = rungs_of(study)
    colours, words = rung_colours(rungs), rung_words(study)
    return {
        "open": math.isinf(study.epsilon),
        "colours": {"grey": GREY, "ink": INK, "baseline": BASELINE},
        "rungs": [{"words": words[rung], "colour": colours[rung]} for rung in rungs],
        "trials": [_trial(study, trial, rungs) for trial in study.trials],
        "baselines": [
            {
                "name": baseline.name,
                "validation": _scores(baseline.scores),
                "test": _scores(baseline.report),
            }
            for baseline in study.baselines
        ],
        "hypervolume": list(study.hypervolume),
        "threat": study.config.get("threat", {}).get("eps"),
        "curves": [
            {"name": c.name, "eps": c.eps, "errors": [_percent(error) for error in c.errors]}
            for c in sorted_curves(study)
        ],
    }


def _trial(study: StudyRecord, trial: Trial, rungs: list[float | None]) -> dict[str, Any]:
    sheet = io.BytesIO()
    contact_sheet(load_set(study.folder / trial.set_path)).save(sheet, "PNG")
    return {
        "name": trial.name,
        "front": trial.number in study.front,
        "chance": study.p_nondominated.get(trial.number),
        "rung": rungs.index(trial.rung),
        "epsilon": finite(trial.scores.epsilon),
        "epsilon_words": trial_epsilon(trial),
        "robust_share": trial.weighting.robust_share,
        "privacy_weight": trial.weighting.privacy,
        "validation": _scores(trial.scores),
        "test": _scores(trial.report),
        "checks": checks_word(study, trial.number),
        "sheet": base64.b64encode(sheet.getvalue()).decode(),
    }


def _scores(scores: Scores | None) -> dict[str, list[float | None]] | None:
    """Mean and standard error in percent of both errors."""
    if scores is None:
        return None
    return {"error": _percent(scores.error), "robust_error": _percent(scores.robust_error)}


def _percent(estimate: Estimate) -> list[float | None]:
    return [finite(100 * estimate.mean), finite(100 * estimate.se)]
