"""The sections of the page on masking checks, robustness curves and the protocol."""

from __future__ import annotations

import html

from moc.study.findings import MaskingChecks
from moc.study.records import StudyRecord
from moc.views.checks import checks_failed, checks_summary, checks_word, sorted_curves
from moc.views.tables import plain_table
from moc.views.words import percent

_WHY = "An attack that fails because gradients are hidden makes a set look robust."


def protocol_section(study: StudyRecord) -> str:
    """How sets were scored; empty where it was not recorded."""
    if not study.protocol:
        return ""
    words = f"<p>{_text(study.protocol)}</p>"
    return f'<section class="card"><h2>How it was measured</h2>{words}</section>'


def masking_section(study: StudyRecord) -> str:
    """Whether robust errors can be believed: a row for every set of the front."""
    loud, summary = " open" if checks_failed(study) else "", checks_summary(study)
    head = (
        f'<section class="card{loud}"><h2>Masking checks</h2>'
        f'<p class="hint">{_WHY}</p><p>{_text(summary[:1].upper() + summary[1:])}.</p>'
    )
    if not study.masking:
        return f"{head}</section>"
    rows = []
    for trial in map(study.trial, study.front):
        checks = study.checks(trial.number)
        details = _details(checks) if checks else ""
        rows.append((trial.name, _text(checks_word(study, trial.number)), details))
    table = plain_table(
        ("set", "result", "checks"), rows, "Masking checks of every set of the front"
    )
    notes = sorted({checks.transfer for checks in study.masking if checks.transfer})
    said = "".join(f'<p class="hint">Transfer: {_text(note)}.</p>' for note in notes)
    return f"{head}{table}{said}</section>"


def curve_section(study: StudyRecord) -> str:
    """Robust error against eps: the place of the plot, and the same numbers as a table."""
    curves = sorted_curves(study)
    title = '<section class="card"><h2>Robustness curve</h2>'
    if not curves:
        why = study.unexamined or "not recorded"
        return f'{title}<p class="hint">Not measured: {_text(why)}.</p></section>'
    first, norm = curves[0], study.config.get("threat", {}).get("norm", "")
    networks = "1 network" if first.networks == 1 else f"{first.networks} networks"
    hint = (
        f"Error on the first {first.records} test records when an attack may change each by eps "
        f"({norm}, pixels in [0, 1]); worst of {', '.join(first.attacks)}, mean ± standard error "
        f"over {networks} a set. A record that fell to a smaller eps stays fallen. At the eps of "
        "the study (dotted line) the front was scored on other numbers of records and attacks, so "
        "its scores differ a little. Click a line to look at its set, a name to hide it."
    )
    rows = [(c.name, *(percent(error) for error in c.errors)) for c in curves]
    heads = ("set", *(f"eps {eps:g}" for eps in first.eps))
    table = plain_table(heads, rows, "Robust error in percent")
    return f'{title}<p class="hint">{_text(hint)}</p><div id="curves"></div>{table}</section>'


def _details(checks: MaskingChecks) -> str:
    items = "".join(
        f"<li>{'✓' if passed else '✗ FAILED:'} {_text(name)} ({_text(detail)})</li>"
        for name, passed, detail in checks.checks
    )
    state = "" if checks.passed else " open"
    title = f"<summary>{len(checks.checks)} checks</summary>"
    return f"<details{state}>{title}<ul>{items}</ul></details>"


def _text(words: str) -> str:
    return html.escape(words)
