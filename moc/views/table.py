"""The front as a table: for the terminal, and as plain rows for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moc.evaluate.scores import Scores
from moc.objectives.base import Objective
from moc.study.records import Baseline, StudyRecord, Trial
from moc.views.words import budget_words, finite, trial_epsilon, volume_words

if TYPE_CHECKING:
    from rich.table import Table

REAL = "real"
"""Stands for the epsilon of a baseline: its records are real ones, so nothing is private."""


def front_rows(study: StudyRecord) -> list[dict[str, Any]]:
    """The non-dominated trials by rising error, then the baselines, as JSON-ready rows.

    Returns:
        Rows with `name`, `kind` (`trial` or `baseline`), `number` and `rung` (its index; None for
        baselines), `epsilon` (None when infinite) with `epsilon_words`, `p_nondominated` (None if
        not known) and `checks_passed` (whether the masking checks hold, None where they were not
        run). For every objective NAME its value on validation records, which the search saw, and
        `NAME_se`; of those that are measured also `test_NAME` and `test_NAME_se`, measured again
        with fresh networks on test records. None where there is no value.
    """
    return [
        *(_trial_row(study, study.trial(number)) for number in study.front),
        *(_baseline_row(study, baseline) for baseline in study.baselines),
    ]


def _trial_row(study: StudyRecord, trial: Trial) -> dict[str, Any]:
    checks = study.checks(trial.number)
    return {
        "name": trial.name,
        "kind": "trial",
        "number": trial.number,
        "rung": None if trial.rung is None else trial.rung.index,
        "epsilon_words": trial_epsilon(trial),
        "p_nondominated": study.p_nondominated.get(trial.number),
        "checks_passed": checks and checks.passed,
        "epsilon": finite(trial.epsilon),
        **measured_values(trial.scores, study.objectives),
        **measured_values(trial.report, study.measured, "test_"),
    }


def _baseline_row(study: StudyRecord, baseline: Baseline) -> dict[str, Any]:
    return {
        "name": baseline.name,
        "kind": "baseline",
        "number": None,
        "rung": None,
        "epsilon_words": REAL,
        "p_nondominated": None,
        "checks_passed": None,
        "epsilon": None,
        **measured_values(baseline.scores, study.objectives),
        **measured_values(baseline.report, study.measured, "test_"),
    }


def measured_values(
    scores: Scores | None, objectives: Mapping[str, Objective], prefix: str = ""
) -> dict[str, float | None]:
    """Means and standard errors of objectives, None where there are none; errors of 0 are exact."""
    values: dict[str, float | None] = {}
    for name, objective in objectives.items():
        estimate = (scores or {}).get(name)
        values[prefix + name] = finite(estimate.mean) if estimate else None
        if not objective.exact:
            values[f"{prefix}{name}_se"] = finite(estimate.se) if estimate else None
    return values


def front_table(study: StudyRecord) -> Table:
    """The front and its baselines for the terminal, errors in percent with standard errors.

    The test columns appear only once something has been measured on test records.
    """
    from rich import box
    from rich.table import Table

    scored = [*map(study.trial, study.front), *study.baselines]
    tested = any(item.report for item in scored)
    table = Table(
        title=_title(study),
        caption=_caption(tested=tested, checked=bool(study.masking)),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title_style="bold",
        caption_style="dim",
    )
    table.add_column("set", no_wrap=True)
    table.add_column("ε", justify="right")
    for records, objectives in _columns(study, tested=tested):
        for objective in objectives.values():
            head = objective.heading.replace(" ", "\n", 1)
            table.add_column(f"{head}\n{records}", justify="right", no_wrap=True)
    table.add_column("P on\nfront", justify="right")
    if study.masking:
        table.add_column("checks", justify="right", no_wrap=True)
    for number in study.front:
        trial = study.trial(number)
        chance = study.p_nondominated.get(number)
        table.add_row(
            trial.name,
            trial_epsilon(trial),
            *_cells(study, trial, tested=tested),
            "-" if chance is None else f"{chance:.2f}",
            *_checks(study, number),
            end_section=number == study.front[-1],
        )
    for baseline in study.baselines:
        cells = _cells(study, baseline, tested=tested)
        table.add_row(baseline.name, REAL, *cells, "", style="dim")
    return table


def _columns(study: StudyRecord, *, tested: bool) -> list[tuple[str, dict[str, Objective]]]:
    """Which objectives are shown on which records; epsilon has a column of its own."""
    shown = {name: one for name, one in study.objectives.items() if name != "epsilon"}
    return [("validation", shown), *([("test", study.measured)] if tested else [])]


def _cells(study: StudyRecord, item: Trial | Baseline, *, tested: bool) -> list[str]:
    return [
        objective.shown.estimate((scores or {}).get(name))
        for scores, (_, objectives) in zip(
            (item.scores, item.report), _columns(study, tested=tested), strict=False
        )
        for name, objective in objectives.items()
    ]


def _checks(study: StudyRecord, number: int) -> list[str]:
    """The cell of the masking checks; none where there is no such column."""
    if not study.masking:
        return []
    checks = study.checks(number)
    if checks is None:
        return ["-"]
    return ["ok" if checks.passed else "[bold red]FAILED[/]"]


def _title(study: StudyRecord) -> str:
    state = "" if study.complete else ", not finished"
    text = f"{study.name}: {len(study.front)} of {len(study.trials)} trials on the front{state}"
    if study.hypervolume:
        text += f"; hypervolume {volume_words(study)}"
    return f"{text}; {budget_words(study)}"


def _caption(*, tested: bool, checked: bool) -> str:
    text = (
        "Mean ± standard error; lower is better. Validation: held-out "
        "records that the search saw, so the front looks slightly too good there."
    )
    if tested:
        text += " Test: fresh networks on records that no choice has seen; quote these."
    text += " P on front: probability of being non-dominated, given the noise."
    return f"{text} Checks: for masked gradients." if checked else text
