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

from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, Task, condense
from moc.data import SOURCES
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import correct
from moc.evidence.moments import Moments
from moc.memory import keep_freed_memory
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.networks.train import fit
from moc.privacy.access import Budget
from moc.privacy.collect import Collection
from moc.privacy.held_out import reference_records
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans

if TYPE_CHECKING:
    from torch import Tensor

    from moc.data.synthetic import SyntheticSet
    from moc.data.vault import RealData

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
    whole = SOURCES.make("digits").load()
    ledger = Ledger(None)
    train, test = whole.split([len(whole) - TEST, TEST], seed=0)
    ledger.own("train", train)
    _, y = reference_records(ledger, "train")
    kept = (y >= RARE) | (torch.arange(len(y)) % KEPT == 0)
    return train.thinned(kept, declared=int(kept.sum())), test


def condensed(data: RealData, epsilon: float, counts: float, seed: int, steps: int) -> SyntheticSet:
    """A set of 10 images a class from a release at this epsilon; infinity for exact sums."""
    bank = Bank(info=data.info, networks=(parse_network("convnet2-w32"),), seed=seed)
    statistics = (ClassMeans(), *([ClassCounts(weight=counts)] if counts else []))
    collection = Collection(bank=bank, networks=64, statistics=statistics)
    private = not math.isinf(epsilon)
    ledger = Ledger(Budget(epsilon=epsilon) if private else None)
    everyone = torch.ones(len(data), dtype=torch.bool)
    ledger.own("train", data.thinned(everyone, declared=len(data)))
    ladder = Ladder(epsilons=(epsilon,)) if private else None
    with tempfile.TemporaryDirectory() as place:
        released = draw(ledger, collection, ladder, folder=Path(place) / "release")
    (one,) = condense(
        [Task(weights=(1.0,), seed=seed)],
        evidence=Moments([(collection, released)]),
        losses=(Generalization(FeatureMean()),),
        settings=CondenseSettings(images_per_class=10, steps=steps, labels="hard"),
    )
    return one.synthetic


def measured(synthetic: SyntheticSet, test: tuple[Tensor, Tensor], trained: int) -> list[float]:
    """Accuracy in % of networks trained on a set: on all test records, and on rare classes."""
    x, y = test
    training = Fast().resolve(synthetic.info, Threat(eps=0.0))
    records = synthetic.training_records()
    networks = [fit(*records, synthetic.info, training, seed=100 + k) for k in range(trained)]
    right = torch.stack([correct(network, x, y).float() for network in networks]).mean(0)
    return [100 * float(right.mean()), 100 * float(right[y < RARE].mean())]


def main() -> None:
    """Print the table: mean and spread over the seeds."""
    options = parse()
    keep_freed_memory()
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
