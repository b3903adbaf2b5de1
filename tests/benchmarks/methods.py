"""The named methods side by side, at equal steps and at equal CPU time; and real images.

    python tests/benchmarks/methods.py studies/methods_digits.toml --seeds 0 1 2 --steps 300
    python tests/benchmarks/methods.py tests/benchmarks/fashion_curve.toml --seeds 0 1 2 --steps 200

For every method and seed a set is condensed for the error alone, in so many steps, and again in as
much CPU time as distribution matching took for its own. Fresh networks are trained on each set and
scored on test records by the study's protocol. One thread; rows go to a JSON file, and what is
there is not done again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moc.condense import Task, condense
from moc.condense.settings import CondenseSettings
from moc.data.synthetic import SyntheticSet
from moc.discrepancies.base import Generalization
from moc.evaluate.baselines import select
from moc.evaluate.scoring import publish_scores
from moc.evaluate.trained import Trained
from moc.memory import keep_freed_memory
from moc.methods import Method, methods
from moc.study.config import load_config, parse_config
from moc.study.context import StudyContext
from moc.study.reporter import Silent

FIRST = "dm"
REAL = ("random", "herding", "kmeans")


def main() -> None:
    """Measure what is missing, then print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--methods", nargs="+", help="these alone; all if left out")
    parser.add_argument("--compute", default="float32", help="or bfloat16")
    parser.add_argument("--steps-only", action="store_true", help="not at equal CPU time too")
    parser.add_argument("--out", type=Path, default=Path("methods.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows: list[dict[str, Any]] = json.loads(options.out.read_text()) if options.out.exists() else []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            context = _context(options.study, seed, Path(folder), options.compute)
            for row in _rows(context, seed, options, rows):
                rows.append(row)
                options.out.write_text(json.dumps(rows, indent=1))
                print({key: row[key] for key in ("name", "seed", "at", "error")}, flush=True)
    _print(rows)


def _context(study: Path, seed: int, folder: Path, compute: str) -> StudyContext:
    tables = load_config(study).model_dump()
    tables["condense"] |= {"compute": compute}
    tables["search"] |= {"choices": {}, "engine": "sobol"}
    tables["data"] |= {"reference": max(tables["data"]["reference"], 150)}
    return StudyContext.load(
        parse_config(tables | {"seed": seed}, where=str(study)), folder, Silent()
    )


def _rows(context: StudyContext, seed: int, options: argparse.Namespace, rows: list[Any]) -> Any:
    done = {(row["name"], row["seed"], row["at"]) for row in rows}
    asked = options.methods or [name for name in methods() if name != "dsa"]
    names = [FIRST, *(name for name in asked if name != FIRST)]
    known = {(row["name"], row["seed"]): row for row in rows if row["at"] == "steps"}
    for name in names:
        if (name, seed, "steps") not in done:
            row = _condensed(context, methods()[name], options.steps, seed, options.networks)
            known[name, seed] = row | {"at": "steps"}
            yield known[name, seed]
        if not options.steps_only and (name, seed, "time") not in done:
            budget, own = known[FIRST, seed]["seconds"], known[name, seed]["seconds"]
            steps = max(round(options.steps * budget / own), 1)
            row = _condensed(context, methods()[name], steps, seed, options.networks)
            yield row | {"at": "time"}
    for name in () if options.steps_only else REAL:
        if (name, seed, "real") not in done:
            per_class = context.config.condense.images_per_class
            chosen = select(name, *context.reference, context.info, per_class=per_class, seed=seed)
            error = _error(context, chosen, options.networks)
            yield {"name": name, "seed": seed, "at": "real", "error": error, "seconds": 0.0}


def _condensed(
    context: StudyContext, method: Method, steps: int, seed: int, networks: int
) -> dict[str, Any]:
    base = context.config.condense.model_dump()
    settings = CondenseSettings.model_validate(
        {**base, "decoder": {}, "pool": None, **method.study["condense"], "steps": steps}
    )
    begun = time.process_time()
    (found,) = condense(
        [Task(weights=(1.0,), seed=seed)],
        evidence=context.evidence,
        losses=(Generalization(method.discrepancy),),
        settings=settings,
    )
    seconds = time.process_time() - begun
    error = _error(context, found.synthetic, networks)
    row = {"name": method.name, "seed": seed, "steps": steps, "seconds": seconds}
    return row | {"error": error, "loss": found.losses[0]}


def _error(context: StudyContext, synthetic: SyntheticSet, networks: int) -> float:
    measures = {"error": context.measures_of(context.training_suite)["error"]}
    trained = Trained(synthetic, seeds=range(500_000, 500_000 + networks))
    scores = publish_scores(trained, measures=measures, held_out=context.held_out["test"])
    return scores["error"].mean


def _print(rows: list[dict[str, Any]]) -> None:
    print("\n| method | error, equal steps | CPU s | error, equal CPU time | steps then |")
    print("|---|---:|---:|---:|---:|")
    names = dict.fromkeys(row["name"] for row in rows)
    for name in sorted(names, key=lambda name: _mean(rows, name, "error")[0]):
        equal = [row for row in rows if row["name"] == name and row["at"] != "time"]
        timed = [row for row in rows if row["name"] == name and row["at"] == "time"]
        cells = [_words(equal), f"{np.mean([row['seconds'] for row in equal]):.0f}"]
        cells += (
            [_words(timed), f"{np.mean([row['steps'] for row in timed]):.0f}"]
            if timed
            else ["", ""]
        )
        print(f"| {name} | {' | '.join(cells)} |")


def _mean(rows: list[dict[str, Any]], name: str, key: str) -> tuple[float]:
    return (float(np.mean([r[key] for r in rows if r["name"] == name and r["at"] != "time"])),)


def _words(rows: list[dict[str, Any]]) -> str:
    errors = 100 * np.array([row["error"] for row in rows])
    spread = f" ± {errors.std(ddof=1):.1f}" if len(errors) > 1 else ""
    return f"{errors.mean():.1f}{spread} %"


if __name__ == "__main__":
    main()
