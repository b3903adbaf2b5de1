"""The sections of the page on recipes, on trials that failed, and on whether losses tell."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from moc.study.belief import Belief, beliefs
from moc.study.records import StudyRecord, Trial, trial_name
from moc.views.figures import recipes_figure, short_recipe, trials_by_recipe
from moc.views.tables import plain_table

_SURE = 2.0  # standard errors that count as more than chance


def recipes_section(study: StudyRecord) -> str:
    """A picture and a table of recipes; empty where all sets have one."""
    recipes = trials_by_recipe(study)
    if len(recipes) < 2:
        return ""
    picture = io.BytesIO()
    recipes_figure(study).savefig(picture, format="png", dpi=110)
    data = base64.b64encode(picture.getvalue()).decode()
    names = [name for name, one in study.objectives.items() if not one.exact]
    rows = [
        (short_recipe(study, number), str(len(trials)), *(_best(study, trials, n) for n in names))
        for number, trials in recipes.items()
    ]
    heads = ("recipe", "sets", *(f"lowest {study.objectives[name].words}" for name in names))
    table = plain_table(heads, rows, "Best of each recipe on validation records")
    return (
        '<section class="card"><h2>Recipes side by side</h2><p class="hint">Sets of one recipe '
        "have one colour. The lowest of several scores flatters: the front below was measured "
        f'again.</p><img class="wide" alt="Scores of every set, by recipe" '
        f'src="data:image/png;base64,{data}">{table}</section>'
    )


def belief_section(study: StudyRecord) -> str:
    """How each loss ranks sets against what was measured; empty where too few are known."""
    found = beliefs(study)
    if not found:
        return ""
    rows = [
        (
            study.objectives[one.objective].words,
            f"{one.correlation:+.2f}",
            f"± {one.error:.2f}",
            f"{one.sets} sets on {one.curves} curve{'s' if one.curves > 1 else ''}",
            html.escape(verdict(one)),
        )
        for one in found
    ]
    heads = ("loss of", "rank correlation", "by chance", "of", "so")
    table = plain_table(heads, rows, "Losses against scores, within each curve")
    return (
        '<section class="card"><h2>Can the losses be believed?</h2><p class="hint">Condensation '
        "sees losses, not scores. +1: a loss ranks sets as networks trained on them do; about 0: "
        f"it says nothing about them.</p>{table}</section>"
    )


def failed_section(study: StudyRecord) -> str:
    """Trials that have no scores, and why; empty where none has failed."""
    if not study.failed:
        return ""
    rows = [(trial_name(one.number), one.stage, html.escape(one.cause)) for one in study.failed]
    table = plain_table(("trial", "failed in", "because"), rows, "Trials that have failed")
    return (
        '<section class="card open"><h2>Trials that have failed</h2><p class="hint">No engine was '
        f"told of them, and nothing here shows them.</p>{table}</section>"
    )


def verdict(belief: Belief) -> str:
    """What the correlation says, in words."""
    if belief.correlation > _SURE * belief.error:
        return "a lower loss is a better set"
    if belief.correlation < -_SURE * belief.error:
        return "a lower loss is a worse set: another discrepancy should stand for it"
    return "no more than chance: choose by scores"


def _best(study: StudyRecord, trials: Sequence[Trial], name: str) -> str:
    shown = study.objectives[name].shown
    best = min((trial.scores[name] for trial in trials), key=lambda one: one.mean)
    return html.escape(f"{shown.estimate(best)}{shown.suffix}")
