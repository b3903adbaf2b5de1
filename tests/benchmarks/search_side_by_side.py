"""Search engines side by side, with Optuna and Ax: hypervolume reached, and CPU seconds an ask.

    make bench-search                                     # the reduced form
    make bench-search ARGS="--trials 96 --seeds 5 --engines all"     # the full form: hours
    python tests/benchmarks/recipes.py table studies/digits_open.toml --networks 2
    make bench-search ARGS="--table recipes.json"         # on that table too

One run of so many trials gives the numbers at 24, 48 and 96 as well: no engine is told the budget.
A finished run is stored at once in the JSON file, and not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from search_peers import SEARCHERS
from search_problems import Analytic, Problem, Stored

MARKS = (24, 48, 96)
REDUCED = (
    "sobol",
    "bayesian",
    "bayesian ehvi 8",
    "unsga3",
    "nsga2",
    "smsemoa",
    "optuna gp",
    "optuna nsga2",
)


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", nargs="+", default=REDUCED, choices=("all", *SEARCHERS))
    parser.add_argument("--problems", nargs="+")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--out", type=Path, default=Path("search.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    problems: dict[str, Problem] = {"convex": Analytic(False), "concave": Analytic(True)}
    if options.table:
        problems["digits table"] = Stored(json.loads(options.table.read_text()))
    runs: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    engines = SEARCHERS if "all" in options.engines else options.engines
    for seed in range(options.seeds):
        for engine in engines:
            for name in options.problems or problems:
                key = f"{name} | {engine} | {seed}"
                if runs.get(key, {"trials": 0})["trials"] < options.trials:
                    runs[key] = run(problems[name], engine, seed, options.trials)
                    print(key, runs[key], flush=True)
                    options.out.write_text(json.dumps(runs, indent=1))
    text = markdown(runs)
    options.out.with_suffix(".md").write_text(text)
    print(text)


def run(problem: Problem, engine: str, seed: int, trials: int) -> dict[str, Any]:
    """One search: the share reached at every mark, and CPU seconds an ask up to there."""
    searcher = SEARCHERS[engine](problem.space, problem.objectives, seed)
    rng, tried, seconds = np.random.default_rng(seed + 99), [], 0.0
    found: dict[str, Any] = {"trials": trials}
    for number in range(1, trials + 1):
        begun = time.process_time()
        point = searcher.ask()
        seconds += time.process_time() - begun
        tried.append(point)
        measured = problem.measure(point, rng)
        begun = time.process_time()
        searcher.tell(point, *measured)
        seconds += time.process_time() - begun
        if number in MARKS or number == trials:
            found[str(number)] = [problem.share(tried), seconds / number]
    return found


def markdown(runs: dict[str, Any]) -> str:
    """Mean and standard deviation over seeds, by problem and engine."""
    cells: dict[tuple[str, str], list[Any]] = {}
    for key, found in runs.items():
        problem, engine, _ = key.split(" | ")
        cells.setdefault((problem, engine), []).append(found)
    head = " | ".join(f"share at {mark} | CPU s an ask" for mark in MARKS)
    lines = [f"| problem | engine | seeds | {head} |", "|---|---|---:|" + "---:|" * 2 * len(MARKS)]
    for (problem, engine), found in sorted(cells.items()):
        shown = " | ".join(
            _cell(one[str(mark)] for one in found if str(mark) in one) for mark in MARKS
        )
        lines.append(f"| {problem} | {engine} | {len(found)} | {shown} |")
    return "\n".join(lines) + "\n"


def _cell(found: Iterable[tuple[float, float]]) -> str:
    rows = np.array(list(found))
    if not len(rows):
        return " | "
    spread = f" ± {rows[:, 0].std(ddof=1):.3f}" if len(rows) > 1 else ""
    return f"{rows[:, 0].mean():.3f}{spread} | {rows[:, 1].mean():.2f}"


if __name__ == "__main__":
    main()
