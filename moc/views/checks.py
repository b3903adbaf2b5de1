"""Whether robust errors can be believed, and how they grow with eps: in words and rows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from moc.study.findings import RobustnessCurve
from moc.study.records import StudyRecord
from moc.views.base import View
from moc.views.words import finite

CURVES = "robustness.csv"
"""Name of the file of robustness curves in the study folder."""


def checks_word(study: StudyRecord, number: int) -> str:
    """The masking checks of one trial for a narrow column: `passed`, `2 FAILED` or `not run`."""
    checks = study.checks(number)
    if checks is None:
        return "not run"
    return "passed" if checks.passed else f"{len(checks.failed)} FAILED"


def checks_summary(study: StudyRecord) -> str:
    """The masking checks of the whole front in a line; failures are named with their numbers."""
    if not study.masking:
        return f"not run: {study.unexamined or 'not recorded'}"
    known = [checks for number in study.front if (checks := study.checks(number))]
    failed = [checks for checks in known if not checks.passed]
    size, rest = len(study.front), len(study.front) - len(known)
    missing = f"; not run for the other {rest}" if rest else ""
    if not failed:
        whom = f"{len(known)} of {size} sets" if rest else f"every set ({size})"
        return f"all passed for {whom} of the front{missing}"
    faults = "; ".join(
        f"{study.trial(checks.trial).name}: {', '.join(checks.failed)}" for checks in failed
    )
    return (
        f"FAILED for {len(failed)} of {size} sets of the front, so do not rely on the robust "
        f"errors of these: {faults}{missing}"
    )


def checks_failed(study: StudyRecord) -> bool:
    """Whether any set failed a masking check."""
    return any(not checks.passed for checks in study.masking)


def checks_of_set(study: StudyRecord, number: int) -> dict[str, Any]:
    """The masking checks of one set for its card: `passed` (None if not run), `words`, `checks`."""
    checks = study.checks(number)
    if checks is not None:
        rows = [{"name": n, "passed": p, "detail": d} for n, p, d in checks.checks]
        words = "; ".join(part for part in (checks.describe(), checks.transfer) if part)
        return {"passed": checks.passed, "words": words, "checks": rows}
    why = study.unexamined
    if not why and number not in study.front:
        why = "only sets of the front are"
    words = f"not checked: {why}" if why else "not checked"
    return {"passed": None, "words": words, "checks": []}


def curve_of(study: StudyRecord, name: str) -> RobustnessCurve | None:
    """The robustness curve of a trial or baseline."""
    return next((curve for curve in study.curves if curve.name == name), None)


def sorted_curves(study: StudyRecord) -> list[RobustnessCurve]:
    """The curves in the order of the front, then of the baselines."""
    names = [study.trial(n).name for n in study.front] + [b.name for b in study.baselines]
    return [curve for name in names if (curve := curve_of(study, name))]


def curve_rows(curve: RobustnessCurve) -> list[dict[str, float | None]]:
    """One row a budget: `eps`, and `robust_error` as a share in [0, 1] with its `_se`."""
    return [
        {"eps": eps, "robust_error": finite(error.mean), "robust_error_se": finite(error.se)}
        for eps, error in zip(curve.eps, curve.errors, strict=True)
    ]


def write_curves(study: StudyRecord, path: Path) -> Path:
    """Write the robustness curves as CSV: `set`, then the columns of `curve_rows`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("set", "eps", "robust_error", "robust_error_se"))
        for curve in sorted_curves(study):
            rows.writerows((curve.name, *row.values()) for row in curve_rows(curve))
    return path


class Curves(View):
    """Robust error against eps as a CSV file in the study folder."""

    kind: Literal["curves"] = "curves"

    @override
    def write(self, study: StudyRecord) -> str:
        write_curves(study, study.folder / CURVES)
        return ""
