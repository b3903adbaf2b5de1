"""Distribution matching to sums that were taken once, against batches of T in every step.

    python tests/benchmarks/targets_once.py fashion_mnist --records 6000 --networks 16 --budget 40

Both start from the same real records and have the same CPU seconds, those of the pass over T
included. Steps on sums meet K networks in turn and touch S alone; steps on batches meet fresh
networks. Fresh networks are then trained on each set and counted on test records. One thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev

import torch
from bench_things import steps_of
from sources import source

from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, Task, condense
from moc.data.synthetic import SyntheticSet
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import correct
from moc.evidence.base import Evidence
from moc.evidence.moments import Moments
from moc.evidence.samples import Samples
from moc.memory import keep_freed_memory
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.networks.train import train
from moc.privacy.collect import Collection
from moc.privacy.held_out import reference_records
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans

TRIED = 4  # steps that say how many fit into a budget


def main() -> None:
    """Print the error of every set as it is made, and the mean over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--records", type=int, default=6000)
    parser.add_argument("--network", default="convnet3-w32")
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 2560])
    parser.add_argument("--budget", type=float, default=40.0, help="CPU seconds of each set")
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    found: dict[str, list[float]] = {}
    for seed in options.seeds:
        for name, error in _errors(options, seed):
            found.setdefault(name, []).append(error)
    for name, errors in found.items():
        spread = f" ± {100 * stdev(errors):.1f}" if len(errors) > 1 else ""
        print(f"{name}: error {100 * mean(errors):.1f}{spread} %, {len(errors)} seeds")


def _errors(options: argparse.Namespace, seed: int) -> list[tuple[str, float]]:
    ledger = Ledger(None)
    data = source(options.source)
    (part,) = data.load("train").split([options.records], seed=seed)
    info = ledger.own("train", part)
    ledger.own("test", data.load("test").split([options.test], seed=seed)[0])
    x, y = reference_records(ledger, "test")
    bank = Bank(info=info, networks=(parse_network(options.network),), seed=seed)
    batches = [Samples(ledger, bank=bank, batch=size, seed=seed) for size in options.batch]
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        statistics = (ClassMeans(), ClassCounts(weight=0.01))
        collection = Collection(bank=bank, networks=options.networks, statistics=statistics)
        sums = Moments([(collection, draw(ledger, collection, None, folder=Path(folder) / "sums"))])
    spent = time.process_time() - start
    made: list[tuple[str, Evidence, float]] = [
        (f"sums under {options.networks} networks", sums, spent),
        *((f"batches of {one._batch}", one, 0.0) for one in batches),
    ]
    rows = []
    for name, evidence, before in made:
        # Sums of an open study start from noise by themselves: the same records are fairer here.
        evidence.start = batches[0].start
        steps = max(TRIED, int((options.budget - before) / _seconds_a_step(evidence)))
        synthetic = _condensed(evidence, steps, seed)
        training = Fast(network=options.network, epochs=options.epochs).resolve(
            info, Threat(eps=0.1)
        )
        networks = [train(synthetic, training, seed=500_000 + number) for number in range(3)]
        error = 1 - mean(float(correct(one, x, y).float().mean()) for one in networks)
        print(f"seed {seed}, {name}: {before:.0f} s before, {steps} steps, {error:.4f}", flush=True)
        rows.append((name, error))
    return rows


def _condensed(evidence: Evidence, steps: int, seed: int) -> SyntheticSet:
    settings = CondenseSettings(images_per_class=10, steps=steps, lr=0.02, labels="hard")
    losses = [Generalization(FeatureMean())]
    tasks = [Task(weights=(1.0,), seed=seed)]
    return condense(tasks, evidence=evidence, losses=losses, settings=settings)[0].synthetic


def _seconds_a_step(evidence: Evidence) -> float:
    return mean(steps_of(evidence, Generalization(FeatureMean()), 1, TRIED)[0])


if __name__ == "__main__":
    main()
