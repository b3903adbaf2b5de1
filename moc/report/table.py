"""The front as a table: for the terminal, and as plain rows for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moc.report.words import budget_words, finite, percent, trial_epsilon

if TYPE_CHECKING:
    from rich.table import Table

    from moc.evaluate.scores import Scores
    from moc.study.records import StudyRecord

REAL = "real"
"""Stands for the epsilon of a baseline: its records are real ones, so nothing is private."""


def front_rows(study: StudyRecord) -> list[dict[str, Any]]:
    """The non-dominated trials by rising error, then the baselines, as JSON-ready rows.

    Returns:
        Rows with `name`, `kind` (`trial` or `baseline`), `number` and `rung` (None for baselines),
        `epsilon` (None when infinite) with `epsilon_words`, `p_nondominated` (None if not known)
        and `checks_passed` (whether the masking checks hold, None where they were not run).
        `error` and `robust_error` are shares in [0, 1] on validation records, which the search
        saw; `test_error` and `test_robust_error` were measured again with fresh networks on test
        records, None where they were not. Each has its standard error beside it, `*_se`.
    """
    trials = [
        {
            "name": trial.name,
            "kind": "trial",
            "number": trial.number,
            "rung": trial.rung,
            "epsilon_words": trial_epsilon(trial),
            "p_nondominated": study.p_nondominated.get(trial.number),
            "checks_passed": (c := study.checks(trial.number)) and c.passed,
            **_measured(trial.scores, trial.report),
        }
        for trial in map(study.trial, study.front)
    ]
    baselines = [
        {
            "name": baseline.name,
            "kind": "baseline",
            "number": None,
            "rung": None,
            "epsilon_words": REAL,
            "p_nondominated": None,
            "checks_passed": None,
            **_measured(baseline.scores, baseline.report),
        }
        for baseline in study.baselines
    ]
    return trials + baselines


def _measured(scores: Scores, report: Scores | None) -> dict[str, float | None]:
    return {
        "epsilon": finite(scores.epsilon),
        "error": finite(scores.error.mean),
        "error_se": finite(scores.error.se),
        "robust_error": finite(scores.robust_error.mean),
        "robust_error_se": finite(scores.robust_error.se),
        "test_error": finite(report.error.mean) if report else None,
        "test_error_se": finite(report.error.se) if report else None,
        "test_robust_error": finite(report.robust_error.mean) if report else None,
        "test_robust_error_se": finite(report.robust_error.se) if report else None,
    }


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
    for records in ("validation", "test") if tested else ("validation",):
        for name in ("error %", "robust %"):
            table.add_column(f"{name}\n{records}", justify="right", no_wrap=True)
    table.add_column("P on\nfront", justify="right")
    if study.masking:
        table.add_column("checks", justify="right", no_wrap=True)
    for number in study.front:
        trial = study.trial(number)
        cells = _cells(trial.scores, trial.report, tested=tested)
        chance = study.p_nondominated.get(number)
        table.add_row(
            trial.name,
            trial_epsilon(trial),
            *cells,
            "-" if chance is None else f"{chance:.2f}",
            *_checks(study, number),
            end_section=number == study.front[-1],
        )
    for baseline in study.baselines:
        cells = _cells(baseline.scores, baseline.report, tested=tested)
        table.add_row(baseline.name, REAL, *cells, "", style="dim")
    return table


def _cells(scores: Scores, report: Scores | None, *, tested: bool) -> list[str]:
    cells = [percent(scores.error), percent(scores.robust_error)]
    if tested:
        cells += [percent(report.error if report else None)]
        cells += [percent(report.robust_error if report else None)]
    return cells


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
        text += f"; hypervolume {study.hypervolume[-1]:.3f}"
    return f"{text}; {budget_words(study)}"


def _caption(*, tested: bool, checked: bool) -> str:
    text = (
        "Mean ± standard error; lower is better. Robust: under attack. Validation: held-out "
        "records that the search saw, so the front looks slightly too good there."
    )
    if tested:
        text += " Test: fresh networks on records that no choice has seen; quote these."
    text += " P on front: probability of being non-dominated, given the noise."
    return f"{text} Checks: for masked gradients." if checked else text
