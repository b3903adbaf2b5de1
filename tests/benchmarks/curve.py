"""A front as one curve against sets apart: equal starts, networks, records and steps.

    python tests/benchmarks/curve.py studies/digits_open.toml --seeds 0 1 2
    python tests/benchmarks/curve.py studies/robust_fashion_mnist.toml --seeds 0 1 2 --points 5

For every seed and rung it condenses sets apart at points on a grid of weights (the two ends first,
whose losses normalise those between), and one curve, of which the same points are taken. Fresh
networks are trained on each set, and scored on test records under the study's attacks. The price of
a curve is its time over that of one set apart, both timed in this process: CPU time of one thread,
or seconds where the study's device is a GPU; a set apart between the ends counts, as it minimises
both losses. Rows go to a JSON file, one for each point, and a finished (seed, rung) is not done
again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from bench_things import clock
from rungs import measure_rungs, parser_of

from moc.condense import Normalisation, Start, Task, condense, condense_curves, losses_of
from moc.condense.settings import CondenseSettings
from moc.data.curve import Curve
from moc.data.synthetic import SyntheticSet
from moc.evaluate.scoring import publish_scores
from moc.evaluate.trained import Trained
from moc.search.front import Frame, hypervolume
from moc.study.context import StudyContext

FRAME = Frame(ideal=(0.0, 0.0), nadir=(0.4, 0.95))
"""Of the hypervolume over error and robust error; the same for all studies."""


def main() -> None:
    """Measure what is missing, then print a Markdown table."""
    parser = parser_of(__doc__, out="curve.json")
    parser.add_argument("--points", type=int, default=9)
    parser.add_argument("--steps", type=int, help="of the curve, if not those of sets apart")
    parser.add_argument("--between", type=int)
    parser.add_argument("--degree", type=int)
    parser.add_argument("--line", action="store_true", help="the straight line too")
    measure_rungs(parser.parse_args(), _measure, report)


def _measure(
    context: StudyContext, seed: int, rung: int, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Both arms of a seed and rung."""
    settings = context.config.condense
    asked = {"between": options.between, "degree": options.degree}
    curve = settings.curve.model_copy(update={k: v for k, v in asked.items() if v})
    of_curve = settings.model_copy(
        update={"steps": options.steps or settings.steps, "curve": curve}
    )
    grid = [k / (options.points - 1) for k in range(options.points)]
    arms = {
        "apart": _apart(context, seed, rung, grid, settings),
    }
    made, seconds = _curve(context, seed, rung, of_curve)
    arms["curve"] = [made.at(robust_error=r) for r in grid], seconds
    if options.line:
        arms["line"] = [_line(made).at(robust_error=r) for r in grid], seconds
    for arm, (sets, seconds) in arms.items():
        losses = losses_of(
            sets, rung=rung, evidence=context.evidence, losses=list(context.losses.values())
        )
        for r, one, found in zip(grid, sets, losses, strict=True):
            scores = _scores(context, one, options.networks)
            yield {
                "seed": seed,
                "rung": rung,
                "arm": arm,
                "r": r,
                "losses": found,
                "scores": {name: [e.mean, e.se] for name, e in scores.items()},
                "seconds": seconds,
            }


def _apart(
    context: StudyContext, seed: int, rung: int, grid: Sequence[float], settings: CondenseSettings
) -> tuple[list[SyntheticSet], float]:
    """Sets by themselves, and the seconds of one of them."""
    run: dict[str, Any] = {
        "evidence": context.evidence,
        "losses": list(context.losses.values()),
        "settings": settings,
    }
    made, start = {}, clock(context.device)
    for r in (0.0, 1.0):
        (made[r],) = condense([Task(weights=(1 - r, r), rung=rung, seed=seed)], **run)
    frame = Normalisation.from_anchors([made[r].losses for r in (0.0, 1.0)])
    for r in grid[1:-1]:
        task = Task(weights=(1 - r, r), rung=rung, seed=seed, normalisation=frame)
        (made[r],) = condense([task], **run)
    seconds = (clock(context.device) - start) / len(grid)
    return [made[r].synthetic for r in grid], seconds


def _line(curve: Curve) -> Curve:
    """The straight line between the ends of a curve."""
    ends = [0, -1]
    labels = curve.labels[ends] if len(curve.labels) > 1 else curve.labels
    return replace(curve, degree=1, x=curve.x[ends], labels=labels)


def _curve(
    context: StudyContext, seed: int, rung: int, settings: CondenseSettings
) -> tuple[Curve, float]:
    """A curve and its seconds."""
    start = clock(context.device)
    (curve,) = condense_curves(
        [Start(rung=rung, seed=seed)],
        evidence=context.evidence,
        losses=context.losses,
        settings=settings,
    )
    return curve, clock(context.device) - start


def _scores(context: StudyContext, synthetic: SyntheticSet, networks: int) -> Any:
    """Error and robust error on test records, of fresh networks."""
    measures, held_out = context.measures_of(context.training_suite), context.held_out["test"]
    seeds = range(500_000, 500_000 + networks)
    trained = Trained(synthetic, seeds=seeds, device=context.device)
    return publish_scores(trained, measures=measures, held_out=held_out)


def report(rows: Sequence[dict[str, Any]]) -> None:
    """Print means over seeds by point, and differences from sets apart, paired over seeds."""
    cells: dict[tuple[int, int, str], list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["seed"], row["rung"], row["arm"]), []).append(row)
    pairs, arms = sorted({key[:2] for key in cells}), list(dict.fromkeys(key[2] for key in cells))
    print(f"\n{len(pairs)} pairs of seed and rung: {pairs}")
    for what, text, scale in (("losses", "{:.4f} / {:.4f}", 1), ("scores", "{:.1f} / {:.1f}", 100)):
        print(
            f"\n| w | {' | '.join(f'{arm}: {what}' for arm in arms)} |\n|---|" + "---|" * len(arms)
        )
        for k, row in enumerate(cells[*pairs[0], arms[0]]):
            means = [
                scale * np.mean([_values(cells[*pair, arm][k], what) for pair in pairs], axis=0)
                for arm in arms
            ]
            print(f"| {row['r']:.3g} | {' | '.join(text.format(*mean) for mean in means)} |")
    for arm in arms[1:]:
        gains = [_gains(cells[*pair, arms[0]], cells[*pair, arm]) for pair in pairs]
        for name in gains[0]:
            values = [gain[name] for gain in gains]
            error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
            print(f"{arm}, {name}: {np.mean(values):+.4f} ± {error:.4f}")


def _gains(apart: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, float]:
    """What another arm has more than sets apart."""
    values = [np.array([_values(row, "scores") for row in arm]) for arm in (apart, other)]
    volumes = [hypervolume(one, frame=FRAME) for one in values]
    change = values[1] - values[0]
    return {
        "hypervolume of apart": volumes[0],
        "hypervolume more than apart": volumes[1] - volumes[0],
        "error of the clean end, points": 100 * change[0, 0],
        "robust error of the robust end, points": 100 * change[-1, 1],
        "price in sets apart": other[0]["seconds"] / apart[0]["seconds"],
    }


def _values(row: dict[str, Any], what: str) -> list[float]:
    """(error, robust error), or both losses."""
    if what == "losses":
        return row["losses"]
    return [row["scores"][name][0] for name in ("error", "robust_error")]


if __name__ == "__main__":
    main()
