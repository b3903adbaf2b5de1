"""Test scores of several finished studies of one file, as a table with the spread over seeds.

    for seed in 0 1 2; do moc study studies/digits.toml --seed $seed; done
    python tests/benchmarks/over_seeds.py runs/digits-seed*

From every study and rung it takes the trials of the front with the lowest validation error and with
the lowest validation robust error; what it prints are test records. Then, for every rung, the test
scores of all of its front: IGD+ of each study to the front of all together, and attainment: what at
least a quarter, a half and three quarters of the studies reached.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

import moocore
import numpy as np

from moc.search.front import nondominated
from moc.study.store import read_study

if TYPE_CHECKING:
    from moc.evaluate.scores import Scores
    from moc.study.records import StudyRecord, Trial

SHARES = (25, 50, 75)  # of studies, in percent


def picks(study: StudyRecord) -> dict[str, Scores | None]:
    """Test scores of one study by row of the table."""
    front = [study.trial(number) for number in study.front]
    rows: dict[str, Scores | None] = {}
    for rung in sorted({trial.rung_index for trial in front}):
        of_rung = [trial for trial in front if trial.rung_index == rung]
        place = place_of(of_rung[0])
        accurate = min(of_rung, key=lambda t: t.scores["error"].mean)
        rows[f"{place}, lowest error"] = accurate.report
        robust = min(of_rung, key=lambda t: t.scores["robust_error"].mean)
        rows[f"{place}, most robust"] = robust.report
    return rows | {f"real, {baseline.name}": baseline.report for baseline in study.baselines}


def place_of(trial: Trial) -> str:
    """The rung of a trial, in words."""
    return f"epsilon {trial.rung.epsilon:.3g}" if trial.rung else "open"


def fronts(study: StudyRecord) -> dict[str, np.ndarray]:
    """Test error and robust error (n, 2) of one study's front, by rung."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    for trial in map(study.trial, study.front):
        if trial.report is not None:
            found[place_of(trial)].append([trial.report[k].mean for k in ("error", "robust_error")])
    return {place: np.array(values) for place, values in found.items()}


def distances(sets: list[np.ndarray]) -> list[float]:
    """IGD+ of each front (n, 2) to the front of all of them together."""
    every = np.concatenate(sets)
    reference = every[nondominated(every)]
    return [float(moocore.igd_plus(one, ref=reference)) for one in sets]


def attained(sets: list[np.ndarray]) -> dict[int, np.ndarray]:
    """Corners (k, 2) of what a share of the studies reached, by that share in percent."""
    numbers = np.concatenate([np.full(len(one), k) for k, one in enumerate(sets)])
    surfaces = moocore.eaf(np.concatenate(sets), numbers, percentiles=SHARES)
    return {share: surfaces[surfaces[:, 2] == share, :2] for share in SHARES}


def main() -> None:
    """Print one Markdown row for each kind of set, then the fronts of every rung."""
    studies = [read_study(Path(folder)) for folder in sys.argv[1:]]
    table: dict[str, list[Scores]] = defaultdict(list)
    for study in studies:
        for row, scores in picks(study).items():
            if scores is not None:
                table[row].append(scores)
    print("| set | studies | error % | robust error % |\n|---|---:|---:|---:|")
    for row, scores in table.items():
        cells = [
            spread([s["error"].mean for s in scores]),
            spread([s["robust_error"].mean for s in scores]),
        ]
        print(f"| {row} | {len(scores)} | {cells[0]} | {cells[1]} |")
    _print_fronts([fronts(study) for study in studies])


def _print_fronts(found: list[dict[str, np.ndarray]]) -> None:
    for place in dict.fromkeys(name for one in found for name in one):
        sets = [one[place] for one in found if place in one]
        print(f"\n{place}: IGD+ to the front of all {len(sets)}, points: {spread(distances(sets))}")
        for share, corners in attained(sets).items():
            words = ", ".join(f"{100 * a:.1f} / {100 * b:.1f}" for a, b in corners)
            print(f"reached by {share} % (error / robust error %): {words}")


def spread(values: list[float]) -> str:
    """Mean ± standard deviation in percent."""
    sd = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * mean(values):.1f} ± {100 * sd:.1f}"


if __name__ == "__main__":
    main()
