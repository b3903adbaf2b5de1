"""Test scores of several finished studies of one file, as a table with the spread over seeds.

    for seed in 0 1 2; do moc study studies/digits.toml --seed $seed; done
    python tests/benchmarks/over_seeds.py runs/digits-seed*

From every study and rung it takes the trials of the front with the lowest validation error and with
the lowest validation robust error; what it prints are test records.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from moc.study.store import read_study

if TYPE_CHECKING:
    from moc.evaluate.scores import Scores
    from moc.study.records import StudyRecord


def picks(study: StudyRecord) -> dict[str, Scores | None]:
    """Test scores of one study by row of the table."""
    front = [study.trial(number) for number in study.front]
    rows: dict[str, Scores | None] = {}
    rungs = {trial.rung.epsilon if trial.rung else 0.0 for trial in front}
    for rung in sorted(rungs, reverse=True):
        of_rung = [t for t in front if (t.rung.epsilon if t.rung else 0.0) == rung]
        place = f"epsilon {rung:.3g}" if rung else "open"
        accurate = min(of_rung, key=lambda t: t.scores["error"].mean)
        rows[f"{place}, lowest error"] = accurate.report
        robust = min(of_rung, key=lambda t: t.scores["robust_error"].mean)
        rows[f"{place}, most robust"] = robust.report
    return rows | {f"real, {baseline.name}": baseline.report for baseline in study.baselines}


def main() -> None:
    """Print one Markdown row for each kind of set."""
    table: dict[str, list[Scores]] = defaultdict(list)
    for folder in sys.argv[1:]:
        for row, scores in picks(read_study(Path(folder))).items():
            if scores is not None:
                table[row].append(scores)
    print("| set | studies | error % | robust error % |\n|---|---:|---:|---:|")
    for row, scores in table.items():
        cells = [
            spread([s["error"].mean for s in scores]),
            spread([s["robust_error"].mean for s in scores]),
        ]
        print(f"| {row} | {len(scores)} | {cells[0]} | {cells[1]} |")


def spread(values: list[float]) -> str:
    """Mean ± standard deviation in percent."""
    sd = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * mean(values):.1f} ± {100 * sd:.1f}"


if __name__ == "__main__":
    main()
