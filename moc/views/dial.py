"""The dial of the page: a slider along each curve, on which sets morph and expected scores move."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from moc.data.curve import Curve
from moc.study.expected import Expected, expected
from moc.study.records import StudyRecord, curve_path
from moc.views.colours import rung_colours
from moc.views.words import epsilon_words

_PER_ROW = 10
"""At most so many records of a class are shown."""


def dial_section(study: StudyRecord) -> str:
    """The place of the dial; empty where the front is no curve of two losses."""
    if not _has_dial(study):
        return ""
    many = study.is_private or study.config["search"]["choices"]
    rung = '<label>curve <select id="dial-rung"></select></label>' if many else ""
    words = html.escape(study.objectives[study.weighed[1]].words)
    return (
        '<section class="card"><h2>Along the curve</h2><p class="hint">Every point of the front is '
        "a set, also those that were never scored: move along it. Lines are expected scores on "
        "validation records, bands ± 1 standard error of them, dots the sets that were scored. "
        "The command takes the set of this point, scores it and confirms it on test records.</p>"
        f'<p class="dial">{rung}<label>weight of {words} <input type="range" id="dial" min="0" '
        'max="64" step="1" value="32"><output id="dial-weight"></output></label>'
        '<code id="dial-command"></code></p><div class="two"><div id="dial-plot"></div><div>'
        '<canvas id="dial-sheet" role="img"></canvas><table id="dial-scores"></table></div></div>'
        "</section>"
    )


def dial_data(study: StudyRecord) -> dict[str, Any] | None:
    """What the dial's script reads: control sets as bytes, and expected scores by rung."""
    if not _has_dial(study):
        return None
    curves = expected(study)
    colours = rung_colours([one.rung.index if one.rung else 0 for one in curves])
    return {
        "study": study.name,
        "loss": study.weighed[1],
        "curves": [
            {
                "words": _words(study, one),
                "recipe": one.recipe,
                "rung": None if one.rung is None else f"{one.rung.epsilon:.4g}",
                "colour": colours[one.rung.index if one.rung else 0],
                "weights": [point[study.weighed[1]] for point in one.points],
                **_scores(study, one),
                **_pictures(study.curve_at(one.rung.index if one.rung else 0, one.recipe)),
            }
            for one in curves
        ],
    }


def _words(study: StudyRecord, curve: Expected) -> str:
    rung = "open" if curve.rung is None else epsilon_words(curve.epsilon)
    return ", ".join(filter(None, [rung, study.recipe_words(curve.recipe)]))


def _has_dial(study: StudyRecord) -> bool:
    scored = {trial.rung_index for trial in study.trials}
    there = all((study.folder / curve_path(rung)).is_file() for rung in scored)
    return study.on_curves and len(study.weighed) == 2 and bool(scored) and there


def _scores(study: StudyRecord, curve: Expected) -> dict[str, Any]:
    """Expected scores, and those of the sets that were scored, as they are shown."""
    lines: dict[str, Mapping[str, Any]] = {}
    for name, objective in study.measured.items():
        factor = objective.shown.factor
        lines[name] = {
            "mean": (factor * curve.mean(name)).round(3).tolist(),
            "error": (factor * curve.error(name)).round(3).tolist(),
            "scored": [
                [
                    trial.point[study.weighed[1]],
                    factor * trial.scores[name].mean,
                    factor * trial.scores[name].se,
                    trial.name,
                ]
                for trial in curve.scored
            ],
        }
    return {"scores": lines}


def _pictures(curve: Curve) -> dict[str, Any]:
    """The first records of every class in every control set, as bytes (P, rows, columns, h, w, c).

    Vectors are shown as strips of one row.
    """
    x = curve.x.numpy()
    classes = len(curve.info.classes)
    each = x.shape[1] // classes
    x = x.reshape(len(x), classes, each, *curve.info.shape)[:, :, :_PER_ROW]
    if not curve.info.is_image:
        x = x[..., None, None, :]
    elif curve.info.shape[0] not in (1, 3):
        x = x.mean(-3, keepdims=True)
    pixels = np.moveaxis((x * 255).round().astype(np.uint8), -3, -1)
    return {
        "shape": pixels.shape,
        "degree": curve.degree,
        "pixels": base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode(),
    }
