"""Clean accuracy of private sets of Fashion-MNIST by epsilon and images a class.

    python tests/benchmarks/private_sets.py --out runs/private-sets --epsilons inf 10 1 \
        --per-class 10 50 --seeds 3

Exact sums of all training records are drawn once, in an open ledger, and the noise of the release
is redrawn on them for every seed, by the function that draws it in a private study: what studies of
this epsilon would get, without sending T through the networks for each of them. The sums stay in
OUT, which is therefore as secret as T. Nothing is chosen; each finished cell is a line of
OUT/cells.jsonl, and a run that was killed goes on where it was. `inf` is the same recipe without
noise; random real images of the same stored budget are measured beside it.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from sources import source

from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, Task, condense
from moc.data.augment import Augmentation
from moc.data.decoder import Decoder
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.evaluate.baselines import DECODED, select
from moc.evaluate.protocols import PROTOCOLS
from moc.evaluate.robust import correct
from moc.evidence.moments import Moments
from moc.memory import keep_freed_memory
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.networks.train import fit
from moc.privacy.collect import Collection
from moc.privacy.held_out import reference_records
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import Released, as_released, draw, noised
from moc.privacy.sums import Sums
from moc.statistics.class_means import ClassMeans

if TYPE_CHECKING:
    from moc.data.synthetic import SyntheticSet

DELTA = 1e-5
SEED = 910_000  # networks that no study has used


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options; what they leave out is the recipe of the table in RESULTS.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True)
    add("--source", default="fashion_mnist")
    add("--path", type=Path)
    add("--epsilons", nargs="+", type=float, default=[math.inf, 10.0, 1.0], help="falling")
    add("--per-class", nargs="+", type=int, default=[10])
    add("--factor", type=int, default=1)
    add("--bank", nargs="+", default=["convnet2-w32-half"])
    add("--networks", type=int, default=128)
    add("--no-augmentation", action="store_true")
    add("--steps", type=int, default=5000)
    add("--lr", type=float, default=0.05)
    add("--seeds", type=int, default=3, help="noise, start and networks are redrawn for each")
    add("--trained", type=int, default=2, help="networks trained on each set")
    add("--protocol", choices=PROTOCOLS.parts, default="fast", help="by which they are trained")
    add("--no-real", action="store_true", help="no random real images beside the sets")
    add("--threads", type=int, default=1)
    return parser.parse_args(arguments)


class Bench:
    """Sums, sets and cells of one run."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Load the records, and draw the exact sums unless they are there."""
        self.options = options
        ledger = Ledger(None, path=options.out / "privacy.jsonl")
        data = source(options.source, options.path)
        self.sealed = data.load()
        ledger.own("train", self.sealed)
        ledger.own("test", data.load("test"))
        self.info = ledger.info("train")
        self.records = reference_records(ledger, "train")
        self.test = reference_records(ledger, "test")
        mirrored = None if options.no_augmentation else Augmentation.dsa(self.info.mirrored)
        networks = tuple(parse_network(name) for name in options.bank)
        bank = Bank(info=self.info, networks=networks, seed=0, augmentation=mirrored)
        self.collection = Collection(
            bank=bank, networks=options.networks, statistics=(ClassMeans(),)
        )
        folder = options.out / f"sums-{'-'.join(options.bank)}-{options.networks}"
        draw(ledger, self.collection, None, folder=folder, progress=_print_progress)
        self.sums = load_file(folder / "rung-0.safetensors")
        self.training = PROTOCOLS.make(options.protocol).resolve(self.info, Threat(eps=0.0))
        self.path = options.out / "cells.jsonl"

    def cells(self) -> list[dict[str, Any]]:
        """What has been measured."""
        return [json.loads(line) for line in self.path.open()] if self.path.exists() else []

    def run(self) -> None:
        """Measure every cell that is missing."""
        for seed in range(self.options.seeds):
            for per_class in self.options.per_class:
                done = {(c["set"], c["seed"], c["per_class"]) for c in self.cells()}
                if not self.options.no_real and ("random", seed, per_class) not in done:
                    self.measure("random", self.random(per_class, seed), per_class, seed)
                todo = [e for e in self.options.epsilons if (repr(e), seed, per_class) not in done]
                for epsilon, synthetic in zip(
                    todo, self.condense(todo, per_class, seed), strict=True
                ):
                    self.measure(repr(epsilon), synthetic, per_class, seed)

    def random(self, per_class: int, seed: int) -> SyntheticSet:
        """Real records of the same stored budget."""
        decoder = Decoder(multi_formation=self.options.factor)
        name = "random" if decoder.is_trivial else DECODED
        x, y = self.records
        return select(name, x, y, self.info, per_class=per_class, seed=seed, decoder=decoder)

    def condense(self, epsilons: list[float], per_class: int, seed: int) -> list[SyntheticSet]:
        """One set for each epsilon, from noise that is drawn now."""
        if not epsilons:
            return []
        o = self.options
        settings = CondenseSettings(
            images_per_class=per_class,
            steps=o.steps,
            lr=o.lr,
            labels="hard",
            decoder=Decoder(multi_formation=o.factor),
        )
        done = condense(
            [Task(weights=(1.0,), rung=rung, seed=seed) for rung in range(len(epsilons))],
            evidence=Moments([(self.collection, [self.released(e) for e in epsilons])]),
            losses=(Generalization(FeatureMean()),),
            settings=settings,
            progress=_print_progress,
        )
        return [one.synthetic for one in done]

    def released(self, epsilon: float) -> Released:
        """The exact sums, or what a release at this epsilon would give."""
        sums = Sums(blocks={name: tensor.long() for name, tensor in self.sums.items()})
        ladder = None if math.isinf(epsilon) else Ladder(epsilons=(epsilon,), delta=DELTA)
        return as_released(noised(sums, ladder, "standard"), ladder)[0]

    def measure(self, name: str, synthetic: SyntheticSet, per_class: int, seed: int) -> None:
        """Train networks on a set and note their accuracy on all test records."""
        x, labels = synthetic.training_records()
        accuracy = [
            100.0 * float(correct(network, *self.test).float().mean())
            for network in (
                fit(x, labels, self.info, self.training, seed=SEED + 100 * seed + number)
                for number in range(self.options.trained)
            )
        ]
        cell = {"set": name, "seed": seed, "per_class": per_class, "accuracy": accuracy}
        with self.path.open("a") as file:
            file.write(json.dumps(cell) + "\n")

    def show(self) -> None:
        """Print the protocol and the table: mean and spread over the seeds."""
        o, cells = self.options, self.cells()
        print(f"{self.collection.describe()}; {o.steps} steps, factor {o.factor}, hard labels")
        print(f"{self.training}\n")
        print("| set | " + " | ".join(f"{m} a class" for m in o.per_class) + " |")
        print("|---|" + "---:|" * len(o.per_class))
        for name in ["random", *map(repr, o.epsilons)]:
            row = []
            for per_class in o.per_class:
                found = [
                    mean(c["accuracy"])
                    for c in cells
                    if (c["set"], c["per_class"]) == (name, per_class)
                ]
                spread = f" ± {stdev(found):.1f}" if len(found) > 1 else ""
                row.append(f"{mean(found):.1f}{spread} ({len(found)})" if found else "")
            print(f"| {name} | " + " | ".join(row) + " |")


def _print_progress(done: int, total: int) -> None:
    if done == total or done % max(total // 20, 1) == 0:
        print(f"\r{done} of {total}", end="\n" if done == total else "", flush=True)


def main() -> None:
    """Measure what is missing, then print what there is."""
    options = parse()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(options)
    bench.run()
    bench.show()


if __name__ == "__main__":
    main()
