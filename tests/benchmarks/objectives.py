"""Robust objectives of open studies against each other: condensed alike, measured alike.

    python tests/benchmarks/objectives.py digits --seeds 0 1 2
    python tests/benchmarks/objectives.py fashion_mnist --shares 1

For every objective it condenses a set at each robust share r by the code that studies run, trains
fresh networks on it by the fast protocol, and attacks them by the fast suite on held-out test
records. Shares between 0 and 1 need the anchors r = 0 and r = 1 first, as in a study. Every
objective meets the same records, starts and networks; none was tuned on this table. Seconds are
CPU time for one set: training what the objective needs (a teacher, a bank), and condensing it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import torch

from moc.condense import Normalisation, Task, condense
from moc.evaluate.baselines import select
from moc.evaluate.scoring import publish_scores
from moc.evaluate.trained import Trained
from moc.memory import keep_freed_memory
from moc.study.config import parse_config
from moc.study.context import StudyContext
from moc.study.reporter import Silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moc.condense import Condensed
    from moc.data.synthetic import SyntheticSet
    from moc.study.config import StudyConfig

SOURCES: dict[str, dict[str, Any]] = {
    "digits": {
        "data": {"source": "digits", "train": 1197, "validation": 300, "test": 300},
        "evidence": {"kind": "samples", "networks": ["convnet2-w32"], "batch": 256},
        "teacher": {"network": "convnet2-w32", "steps": 300},
        "condense": {"images_per_class": 10, "steps": 250, "lr": 0.02},
    },
    "fashion_mnist": {
        "data": {"source": "fashion_mnist", "validation": 300, "test": 300},
        "evidence": {"kind": "samples", "networks": ["convnet3-w32"], "batch": 128},
        "teacher": {"network": "convnet3-w32", "steps": 200},
        "condense": {"images_per_class": 10, "steps": 150, "lr": 0.03},
    },
}
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "attack, ridge risk": ("ridge-risk", {"kind": "attacked"}),
    "attack, feature mean": ("feature-mean", {"kind": "attacked"}),
    # One attack serves all sets here, so it can afford the whole batch.
    "attack, gradient matching": ("gradient-matching", {"kind": "attacked", "records": 128}),
    "teacher, ridge risk": ("ridge-risk", {"kind": "teacher"}),
    "attack with the teacher's labels, ridge risk": (
        "ridge-risk",
        {"kind": "attacked", "targets": "teachers"},
    ),
    "curvature, ridge risk": ("ridge-risk", {"kind": "curvature"}),
}


def main() -> None:
    """Print a Markdown table; progress goes to standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", choices=SOURCES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 1.0])
    parser.add_argument("--networks", type=int, default=2, help="trained on every set")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="ARM")
    parser.add_argument("--curvature", type=float, help="weight of the curvature")
    parser.add_argument("--steps", type=int, help="of condensation")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    rows: dict[tuple[str, float | None], list[tuple[float, float, float]]] = defaultdict(list)
    for seed in options.seeds:
        for arm in options.arms:
            config = _config(options, arm, seed)
            for share, values in _measure_arm(config, options.shares, options.networks):
                rows[arm, share].append(values)
                _show(f"{arm}, r = {share}, seed {seed}: {values}")
        plain = _config(options, "attack, ridge risk", seed)
        rows["real, random", None].append(_real(plain, options.networks))
        _show(f"real, random, seed {seed}: {rows['real, random', None][-1]}")
    print(_table(rows))


def _config(options: argparse.Namespace, arm: str, seed: int) -> StudyConfig:
    discrepancy, adversarial = ARMS[arm]
    if adversarial["kind"] == "curvature" and options.curvature is not None:
        adversarial = {**adversarial, "weight": options.curvature}
    tables = {
        **SOURCES[options.source],
        "name": "objectives",
        "seed": seed,
        "objectives": {
            "error": {"discrepancy": discrepancy},
            "robust_error": {"adversarial": adversarial},
        },
    }
    if options.steps is not None:
        tables["condense"] = {**tables["condense"], "steps": options.steps}
    return parse_config(tables, where=arm)


def _measure_arm(
    config: StudyConfig, shares: Sequence[float], networks: int
) -> list[tuple[float, tuple[float, float, float]]]:
    """(r, (error, robust error, CPU seconds)) of a set for every share."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        context = StudyContext.load(config, Path(folder), Silent())
        _ = context.losses
        prepared = time.process_time() - start
        made = _condense(context, shares)
        return [
            (share, (*_measure(context, one, networks), prepared + seconds))
            for share, (one, seconds) in made.items()
        ]


def _condense(
    context: StudyContext, shares: Sequence[float]
) -> dict[float, tuple[SyntheticSet, float]]:
    """A set for every share, with its part of the CPU seconds."""
    inner = [share for share in shares if 0 < share < 1]
    ends = [0.0, 1.0] if inner else [share for share in shares if share in (0, 1)]
    anchors, seconds = _timed(context, ends, None)
    made = {share: (one.synthetic, seconds) for share, one in zip(ends, anchors, strict=True)}
    if inner:
        frame = Normalisation.from_anchors([anchor.losses for anchor in anchors])
        found, seconds = _timed(context, inner, frame)
        made |= {share: (one.synthetic, seconds) for share, one in zip(inner, found, strict=True)}
    return {share: made[share] for share in shares}


def _timed(
    context: StudyContext, shares: Sequence[float], frame: Normalisation | None
) -> tuple[list[Condensed], float]:
    start, seed = time.process_time(), context.seed
    found = condense(
        [Task(weights=(1 - r, r), seed=seed, normalisation=frame) for r in shares],
        evidence=context.evidence,
        losses=list(context.losses.values()),
        settings=context.config.condense,
    )
    return found, (time.process_time() - start) / len(shares)


def _measure(context: StudyContext, synthetic: SyntheticSet, networks: int) -> tuple[float, float]:
    """Error and robust error on the test records, over fresh networks."""
    test, measures = context.held_out["test"], context.measures_of(context.training_suite)
    seeds = range(context.seed * 1_000_000, context.seed * 1_000_000 + networks)
    trained = Trained(synthetic, seeds=list(seeds))
    scores = publish_scores(trained, measures=measures, held_out=test)
    return scores["error"].mean, scores["robust_error"].mean


def _real(config: StudyConfig, networks: int) -> tuple[float, float, float]:
    """Random real images of the same budget."""
    with tempfile.TemporaryDirectory() as folder:
        context = StudyContext.load(config, Path(folder), Silent())
        assert context.reference is not None
        per_class = config.condense.images_per_class
        chosen = select(
            "random", *context.reference, context.info, per_class=per_class, seed=config.seed
        )
        return (*_measure(context, chosen, networks), 0.0)


def _table(rows: dict[tuple[str, float | None], list[tuple[float, float, float]]]) -> str:
    lines = [
        "| adversarial objective | r | studies | error % | robust error % | CPU seconds |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for (arm, share), values in rows.items():
        error, robust, seconds = zip(*values, strict=True)
        where = "" if share is None else f"{share:g}"
        cells = f"{_spread(error)} | {_spread(robust)} | {mean(seconds):.0f}"
        lines.append(f"| {arm} | {where} | {len(values)} | {cells} |")
    return "\n".join(lines)


def _spread(values: tuple[float, ...]) -> str:
    """Mean ± standard deviation over seeds, in percent."""
    sd = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{sd}"


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
