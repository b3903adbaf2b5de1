"""What sets are worth to whoever trains under attack on them, beside plain training.

    python tests/benchmarks/trained_under_attack.py studies/digits_open.toml --seeds 0 1 2
    python tests/benchmarks/trained_under_attack.py studies/robust_fashion_mnist.toml \
        --seeds 0 1 2 --networks 1 --full 200

For every seed and rung it condenses a set for each loss alone by the study's recipe, and selects
random real images. On each it trains fresh networks plainly and under attack (every batch under the
attack that confirmations use, within the study's threat), and scores them on test records: error
and robust error under the study's suite, and with `--full` robust error under AutoAttack on the
first records of the test part. It chooses nothing. Rows go to a JSON file; a finished seed and rung
is not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from statistics import mean, stdev
from typing import Any

from rungs import measure_rungs, parser_of

from moc.condense import Task, condense
from moc.data.synthetic import SyntheticSet
from moc.evaluate.baselines import select
from moc.evaluate.protocols.base import ADVERSARIAL
from moc.evaluate.scoring import publish_scores
from moc.evaluate.suites import FullSuite, Suite
from moc.evaluate.trained import Trained
from moc.networks.train import Training
from moc.privacy.held_out import HeldOut
from moc.study.context import StudyContext


def main() -> None:
    """Measure what is missing, then print a Markdown table."""
    parser = parser_of(__doc__, out="trained_under_attack.json")
    parser.add_argument("--full", type=int, default=0, help="test records under AutoAttack")
    measure_rungs(
        parser.parse_args(), _measure, lambda rows: print(f"\n{_table(rows)}", flush=True)
    )


def _measure(
    context: StudyContext, seed: int, rung: int, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The rows of a seed and rung: every set, trained on in both ways."""
    attacked = context.training.under(ADVERSARIAL, context.config.threat)
    ways = {"plain": context.training, "under attack": attacked}
    for name, synthetic in _sets(context, seed, rung):
        for way, training in ways.items():
            scores = _scores(context, synthetic, training, options)
            yield {"seed": seed, "rung": rung, "set": name, "training": way, "scores": scores}


def _sets(context: StudyContext, seed: int, rung: int) -> Iterator[tuple[str, SyntheticSet]]:
    """The sets that are condensed for one loss alone, and real records of as many a class."""
    settings, losses = context.config.condense, context.losses
    assert context.reference is not None
    real = select(
        *("random", *context.reference, context.info),
        per_class=settings.images_per_class,
        seed=seed,
    )
    yield "real, random", real
    for k, name in enumerate(losses):
        weights = tuple(float(k == other) for other in range(len(losses)))
        (made,) = condense(
            [Task(weights=weights, rung=rung, seed=seed)],
            evidence=context.evidence,
            losses=list(losses.values()),
            settings=settings,
        )
        yield f"condensed for {name.replace('_', ' ')} alone", made.synthetic


def _scores(
    context: StudyContext, synthetic: SyntheticSet, training: Training, options: argparse.Namespace
) -> dict[str, float]:
    """Means over fresh networks on test records."""
    seeds, test = range(600_000, 600_000 + options.networks), context.held_out["test"]
    trained = Trained(synthetic, seeds=seeds, device=context.device)

    def found(suite: Suite, held_out: HeldOut) -> dict[str, float]:
        measures = context.measures_of(suite, training)
        scores = publish_scores(trained, measures=measures, held_out=held_out)
        return {name: 100 * one.mean for name, one in scores.items()}

    scores = found(context.training_suite, test)
    if options.full:
        full = found(FullSuite(), test.first(options.full))
        scores["robust error, AutoAttack"] = full["robust_error"]
    return scores


def _table(rows: list[dict[str, Any]]) -> str:
    """Mean ± standard deviation over seeds, in percent."""
    names = list(rows[0]["scores"])
    head = ["rung", "set", "training", "seeds", *(f"{name.replace('_', ' ')} %" for name in names)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    groups: dict[tuple[int, str, str], list[dict[str, float]]] = {}
    for row in rows:
        groups.setdefault((row["rung"], row["set"], row["training"]), []).append(row["scores"])
    for (rung, name, way), scores in groups.items():
        cells = [_spread([one[column] for one in scores]) for column in names]
        lines.append(f"| {rung} | {name} | {way} | {len(scores)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
