"""Does a search over recipes pay? A table of scored curves, then engines on it at equal cost.

    python tests/benchmarks/recipes.py table studies/digits_open.toml --out recipes.json
    python tests/benchmarks/recipes.py search recipes.json --budgets 24 48 96 --seeds 5

`table` condenses a curve for every recipe of `CHOICES`, of which the study's own is one, and scores
points of it on validation and test records. `search` lets engines search that table, with scores
between its points interpolated: a scoring costs 1, a new recipe `--recipe-cost` more (measured: the
table's own CPU seconds are printed). What counts is the hypervolume on test records of what is
non-dominated on validation records. The grid spends its whole budget on weights under the study's
own recipe.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from curve import FRAME

from moc.condense import Start, condense_curves
from moc.evaluate.scoring import publish_scores
from moc.evaluate.trained import Trained
from moc.memory import keep_freed_memory
from moc.search.engines import ENGINES
from moc.search.front import hypervolume, nondominated
from moc.search.space import Point, Space, recipes_of
from moc.study.config import load_config, parse_config
from moc.study.context import StudyContext
from moc.study.reporter import Silent

CHOICES: dict[str, list[Any]] = {
    "condense.lr": [None, 0.05],  # None: the study's own
    "condense.labels": ["learned", "hard"],
    "objectives.robust_error.adversarial.share": [0.5, 1.0],
}
POINTS = 5
NAMES = ("error", "robust_error")


def main() -> None:
    """Make the table, or search it."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("table")
    make.add_argument("study", type=Path)
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--rung", type=int, default=0, help="of a private study")
    make.add_argument("--networks", type=int, default=3)
    make.add_argument("--out", type=Path, default=Path("recipes.json"))
    look = commands.add_parser("search")
    look.add_argument("table", type=Path)
    look.add_argument("--budgets", type=float, nargs="+", default=[24, 48, 96])
    look.add_argument("--seeds", type=int, default=5)
    look.add_argument("--recipe-cost", type=float, default=5.0)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    if options.command == "table":
        options.out.write_text(json.dumps(list(_table(options)), indent=1))
    else:
        _search(json.loads(options.table.read_text()), options)


def _table(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each recipe: scores at every point of its curve."""
    study = load_config(options.study)
    choices = CHOICES | {"condense.lr": [study.condense.lr, 0.05]}
    share = study.objectives["robust_error"].model_dump()["adversarial"]["share"]
    own = dict(zip(choices, (study.condense.lr, study.condense.labels, share), strict=True))
    tables = study.model_dump()
    tables |= {"seed": options.seed, "search": tables["search"] | {"choices": choices}}
    config = parse_config(tables, where=str(options.study))
    with tempfile.TemporaryDirectory() as folder:
        context = StudyContext.load(config, Path(folder), Silent())
        recipes = context.worker().recipes
        for number, recipe in enumerate(recipes):
            begun = time.process_time()
            (curve,) = condense_curves(
                [Start(seed=options.seed, rung=options.rung)],
                evidence=context.evidence,
                losses=recipe.losses,
                settings=recipe.condense,
            )
            condensed = time.process_time()
            places = [k / (POINTS - 1) for k in range(POINTS)]
            scores = [_scores(context, curve.at(robust_error=w), options.networks) for w in places]
            yield {
                "recipe": recipes_of(choices)[number],
                "default": recipes_of(choices)[number] == own,
                "w": places,
                "scores": scores,
                "condensing": condensed - begun,
                "scoring": (time.process_time() - condensed) / (2 * POINTS),
            }


def _scores(context: StudyContext, synthetic: Any, networks: int) -> dict[str, Any]:
    measures, found = context.measures_of(context.training_suite), {}
    for kind, first in (("validation", 0), ("test", 500_000)):
        held_out, seeds = context.held_out[kind], range(first, first + networks)
        trained = Trained(synthetic, seeds=seeds)
        rates = publish_scores(trained, measures=measures, held_out=held_out)
        found[kind] = {name: [one.mean, one.se] for name, one in rates.items()}
    return found


def _search(table: list[dict[str, Any]], options: argparse.Namespace) -> None:
    for row in table:
        line = {k: np.mean([s["test"][k][0] for s in row["scores"]]) for k in NAMES}
        print(row["recipe"], {k: f"{100 * v:.1f}" for k, v in line.items()})
    ratio = np.mean([row["condensing"] / row["scoring"] for row in table])
    print(f"a curve costs {ratio:.1f} scorings here (CPU time)\n")
    print("| budget, in scorings | " + " | ".join(("grid, default", "sobol", "bayesian")) + " |")
    print("|---|---:|---:|---:|")
    for budget in options.budgets:
        cells = [f"{_grid(table, budget, options.recipe_cost):.4f}"]
        for kind in ("sobol", "bayesian"):
            runs = [
                _run(table, kind, budget, seed, options.recipe_cost)
                for seed in range(options.seeds)
            ]
            cells.append(f"{np.mean(runs):.4f} ± {np.std(runs, ddof=1) / len(runs) ** 0.5:.4f}")
        print(f"| {budget:g} | {' | '.join(cells)} |")
    everything = [_at(row, w, "test") for row in table for w in np.linspace(0, 1, 65)]
    best = hypervolume(np.array(everything), frame=FRAME)
    print(f"\nall points, chosen on test records: {best:.4f}")


def _grid(table: list[dict[str, Any]], budget: float, recipe_cost: float) -> float:
    count = max(int(budget - recipe_cost), 2)
    (default,) = (row for row in table if row["default"])
    return _volume([(default, k / (count - 1)) for k in range(count)])


def _run(
    table: list[dict[str, Any]], kind: str, budget: float, seed: int, recipe_cost: float
) -> float:
    counts = {name: len(values) for name, values in CHOICES.items()}
    space = Space(Space.over(*NAMES).weights, choices=counts, recipe_cost=recipe_cost)
    engine = ENGINES.make(kind).start(space, objectives=2, seed=seed)
    tried: list[Point] = []
    spent = 0.0
    while True:
        (point,) = engine.ask(1)
        spent += space.cost(point, tried)
        if spent > budget:
            return _volume([(table[space.recipe(p)], p["robust_error"]) for p in tried])
        tried.append(point)
        row, w = table[space.recipe(point)], point["robust_error"]
        engine.tell(point, _at(row, w, "validation"), _at(row, w, "validation", place=1))


def _volume(places: list[tuple[Mapping[str, Any], float]]) -> float:
    """On test records, of what is non-dominated on validation records."""
    seen = np.array([_at(row, w, "validation") for row, w in places])
    test = np.array([_at(row, w, "test") for row, w in places])
    return hypervolume(test[nondominated(seen)], frame=FRAME)


def _at(row: Mapping[str, Any], w: float, kind: str, *, place: int = 0) -> list[float]:
    values = [[score[kind][name][place] for name in NAMES] for score in row["scores"]]
    return [float(np.interp(w, row["w"], column)) for column in zip(*values, strict=True)]


if __name__ == "__main__":
    main()
