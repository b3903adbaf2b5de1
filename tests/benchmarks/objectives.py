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
from moc.evaluate import make_protocol, score, select, to_scores
from moc.study.config import parse_config
from moc.study.releases import threat_of
from moc.study.reporter import Silent
from moc.study.setup import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moc.condense import Condensed
    from moc.data.synthetic import SyntheticSet
    from moc.study.config import StudyConfig
    from moc.study.setup import Materials

SOURCES: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        "data": {"train": 1197, "validation": 300, "test": 300},
        "bank": {"networks": ["convnet2-w32"], "count": 4, "stages": 4, "steps": 100},
        "objectives": {"batch": 256, "attacked": 64},
        "teacher": {"network": "convnet2-w32", "steps": 300},
        "condense": {"per_class": 10, "steps": 250, "lr": 0.02},
    },
    "fashion_mnist": {
        "data": {"validation": 300, "test": 300},
        "bank": {"networks": ["convnet3-w32"], "count": 2, "stages": 4, "steps": 60},
        "objectives": {"batch": 128, "attacked": 64, "ridge": 0.05},
        "teacher": {"network": "convnet3-w32", "steps": 200},
        "condense": {"per_class": 10, "steps": 150, "lr": 0.03},
    },
}
ADVERSARIAL_BANK = {"pretrained": "adversarial"}
ARMS: dict[str, dict[str, dict[str, Any]]] = {
    "attack, ridge risk": {
        "objectives": {"generalization": "ridge-risk", "adversarial": "attack"},
    },
    "attack, ridge risk, AT bank": {
        "objectives": {"generalization": "ridge-risk", "adversarial": "attack"},
        "bank": ADVERSARIAL_BANK,
    },
    "attack, feature mean, AT bank": {
        "objectives": {"generalization": "feature-mean", "adversarial": "attack"},
        "bank": ADVERSARIAL_BANK,
    },
    "attack, gradient matching, AT bank": {
        # One attack serves all sets here, so it can afford the whole batch.
        "objectives": {
            "generalization": "gradient-matching",
            "adversarial": "attack",
            "attacked": 128,
        },
        "bank": ADVERSARIAL_BANK,
    },
    "teacher, ridge risk": {
        "objectives": {"generalization": "ridge-risk", "adversarial": "teacher"},
    },
    "curvature, ridge risk": {
        "objectives": {"generalization": "ridge-risk", "adversarial": "curvature"},
    },
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
    tables: dict[str, Any] = {"name": "objectives", "seed": seed, "threads": 1, "workers": 1}
    for part in (SOURCES[options.source], ARMS[arm]):
        for name, entries in part.items():
            tables[name] = {**tables.get(name, {}), **entries}
    tables["data"] = {**tables["data"], "source": options.source}
    if options.curvature is not None:
        tables["objectives"]["curvature"] = options.curvature
    if options.steps is not None:
        tables["condense"] = {**tables["condense"], "steps": options.steps}
    return parse_config(tables, where=arm)


def _measure_arm(
    config: StudyConfig, shares: Sequence[float], networks: int
) -> list[tuple[float, tuple[float, float, float]]]:
    """(r, (error, robust error, CPU seconds)) of a set for every share."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        materials = prepare(config, Path(folder), Silent())
        prepared = time.process_time() - start
        made = _condense(config, materials, shares)
        return [
            (share, (*_measure(config, materials, one, networks), prepared + seconds))
            for share, (one, seconds) in made.items()
        ]


def _condense(
    config: StudyConfig, materials: Materials, shares: Sequence[float]
) -> dict[float, tuple[SyntheticSet, float]]:
    """A set for every share, with its part of the CPU seconds."""
    inner = [share for share in shares if 0 < share < 1]
    ends = [0.0, 1.0] if inner else [share for share in shares if share in (0, 1)]
    anchors, seconds = _timed(config, materials, ends, None)
    made = {share: (one.synthetic, seconds) for share, one in zip(ends, anchors, strict=True)}
    if inner:
        low, high = (anchor.losses for anchor in anchors)
        normalisation = Normalisation(ideal=((low[0], high[1]),), nadir=((high[0], low[1]),))
        found, seconds = _timed(config, materials, inner, normalisation)
        made |= {share: (one.synthetic, seconds) for share, one in zip(inner, found, strict=True)}
    return {share: made[share] for share in shares}


def _timed(
    config: StudyConfig,
    materials: Materials,
    shares: Sequence[float],
    normalisation: Normalisation | None,
) -> tuple[list[Condensed], float]:
    start = time.process_time()
    found = condense(
        [Task(robust_share=share, seed=config.seed) for share in shares],
        evidence=materials.evidence,
        objectives=materials.objectives,
        settings=materials.settings,
        normalisation=normalisation,
    )
    return found, (time.process_time() - start) / len(shares)


def _measure(
    config: StudyConfig, materials: Materials, synthetic: SyntheticSet, networks: int
) -> tuple[float, float]:
    """Error and robust error on the test records, over fresh networks."""
    assert materials.test is not None
    protocol = make_protocol("fast", synthetic.info, threat_of(config))
    seeds = range(config.seed * 1_000_000, config.seed * 1_000_000 + networks)
    counts = score(synthetic, protocol=protocol, held_out=materials.test, seeds=list(seeds))
    scores = to_scores(materials.test.publish(counts), epsilon=float("inf"))
    return scores.error.mean, scores.robust_error.mean


def _real(config: StudyConfig, networks: int) -> tuple[float, float, float]:
    """Random real images of the same budget."""
    with tempfile.TemporaryDirectory() as folder:
        materials = prepare(config, Path(folder), Silent())
        assert materials.reference is not None
        chosen = select(
            "random",
            *materials.reference,
            materials.evidence.info,
            per_class=config.condense.per_class,
            seed=config.seed,
        )
        return (*_measure(config, materials, chosen, networks), 0.0)


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
