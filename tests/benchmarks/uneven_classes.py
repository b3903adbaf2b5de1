"""What class counts in a release are worth where the classes of T are not of one size.

    python tests/benchmarks/uneven_classes.py --seeds 3

Digits, of whose first five classes an eighth is kept. Sets of 10 images a class are condensed from
a release of class means under 64 networks, with and without the counts, and networks are trained on
them by the fast protocol. Accuracy on test records, which have all classes alike, and on those of
the five rare classes. Releases live in memory and in a temporary folder only.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from dp_training import spread

from moc.attacks import Threat
from moc.networks.bank import Bank
from moc.condense import CondenseSettings, Task, condense
from moc.data import load
from moc.discrepancies import FeatureMean, Generalization
from moc.evaluate import fit, make_protocol
from moc.evaluate.robust import correct
from moc.evidence import Budget, Ladder, Ledger, Moments, Statistics, draw, reference_records
from moc.networks import NetworkSpec

if TYPE_CHECKING:
    from torch import Tensor

    from moc.data.vault import RealData
    from moc.data.synthetic import SyntheticSet

TEST = 500
RARE = 5  # the first classes, of which one record in KEPT stays
KEPT = 8


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options; what they leave out is the table in RESULTS.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--epsilons", nargs="+", type=float, default=[math.inf, 8.0, 4.0, 2.0])
    add("--counts", nargs="+", type=float, default=[0.0, 0.01], help="their shares of the norm")
    add("--seeds", type=int, default=3, help="networks, noise and start are redrawn for each")
    add("--steps", type=int, default=600)
    add("--trained", type=int, default=2, help="networks trained on each set")
    return parser.parse_args(arguments)


def uneven() -> tuple[RealData, RealData]:
    """Digits of uneven classes, and test records of even ones."""
    whole = load("digits")
    ledger = Ledger(None)
    train, test = whole.split([len(whole) - TEST, TEST], seed=0)
    ledger.own("train", train)
    _, y = reference_records(ledger, "train")
    kept = (y >= RARE) | (torch.arange(len(y)) % KEPT == 0)
    return train.thinned(kept, declared=int(kept.sum())), test


def condensed(data: RealData, epsilon: float, counts: float, seed: int, steps: int) -> SyntheticSet:
    """A set of 10 images a class from a release at this epsilon; infinity for exact sums."""
    bank = Bank(info=data.info, specs=(NetworkSpec.parse("convnet2-w32"),), seed=seed)
    statistics = Statistics(bank=bank, networks=64, mean=1 - counts, counts=counts)
    private = not math.isinf(epsilon)
    ledger = Ledger(Budget(epsilon=epsilon) if private else None)
    ledger.own("train", data)
    ladder = Ladder(epsilons=(epsilon,)) if private else None
    with tempfile.TemporaryDirectory() as place:
        rungs = draw(ledger, statistics, ladder, folder=Path(place) / "release")
    (one,) = condense(
        [Task(robust_share=0.0, seed=seed)],
        evidence=Moments(statistics, rungs),
        objectives=(Generalization(FeatureMean()),),
        settings=CondenseSettings(per_class=10, steps=steps, labels="hard"),
    )
    return one.synthetic


def measured(synthetic: SyntheticSet, test: tuple[Tensor, Tensor], trained: int) -> list[float]:
    """Accuracy in % of networks trained on a set: on all test records, and on rare classes."""
    x, y = test
    protocol = make_protocol("fast", synthetic.info, Threat(eps=0.0))
    records = synthetic.training_records()
    networks = [fit(*records, synthetic.info, protocol, seed=100 + k) for k in range(trained)]
    right = torch.stack([correct(network, x, y).float() for network in networks]).mean(0)
    return [100 * float(right.mean()), 100 * float(right[y < RARE].mean())]


def main() -> None:
    """Print the table: mean and spread over the seeds."""
    options = parse()
    torch.set_num_threads(1)
    data, test = uneven()
    ledger = Ledger(None)
    ledger.own("test", test)
    records = reference_records(ledger, "test")
    print(f"{len(data)} records\n")
    print("| epsilon | counts | accuracy % | of the rare classes |\n|---:|---:|---:|---:|")
    for epsilon in options.epsilons:
        for counts in options.counts:
            rows = [
                measured(
                    condensed(data, epsilon, counts, seed, options.steps), records, options.trained
                )
                for seed in range(options.seeds)
            ]
            cells = " | ".join(spread(list(column)) for column in zip(*rows, strict=True))
            print(f"| {epsilon:g} | {counts:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
