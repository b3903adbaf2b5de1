"""What a teacher trained by DP-SGD, and a proxy, do for private sets of Fashion-MNIST.

    python tests/benchmarks/private_teacher.py --out runs/private-sets --seeds 3

One epsilon pays for both: `--share` of the budget for DP-SGD on all training records, the rest for
a release of class means (that of `private_sets.py`, whose exact sums in OUT are used, and which are
as secret as T). Every row is the accuracy of networks on all test records:

- the teacher itself;
- networks trained by the fast protocol on a set of the release, under hard labels, under the
  teacher's labels for the same images, and where images and labels were made to agree with the
  teacher;
- networks trained on a proxy of the release, under its own labels and under the teacher's;
- networks trained on a set that was condensed from the proxy under the teacher's labels, by ridge
  risk through networks trained on the set.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import torch
from dp_training import spread
from private_sets import DELTA, SEED, Bench, parse

from moc.attacks import Attack, Threat
from moc.networks.bank import Bank
from moc.condense import (
    CondenseSettings,
    Normalisation,
    Proxies,
    Proxy,
    Task,
    condense,
    make_proxies,
)
from moc.data import SyntheticSet
from moc.discrepancies import FeatureMean, Generalization, RidgeRisk, TeacherAgreement
from moc.evaluate import fit
from moc.evaluate.robust import correct
from moc.evidence import (
    AttackedBatch,
    Budget,
    Ledger,
    Moments,
    PrivateTraining,
    train_privately,
)
from moc.privacy.accountant import (
    Gaussian,
    epsilon,
    noise_multiplier,
    sampled_noise_multiplier,
)
from moc.networks import Ensembles, NetworkSpec, mean_prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

NETWORK = NetworkSpec.parse("convnet2-w16")
STEPS, BATCH = 200, 512
STUDENT = NetworkSpec.parse("convnet3-w32")


def training_of(options: argparse.Namespace, records: int, seed: int) -> PrivateTraining:
    """DP-SGD that costs what a release with the share of the budget would."""
    whole = noise_multiplier(options.epsilon, delta=DELTA)
    share = epsilon([Gaussian(noise_multiplier=whole / options.share**0.5)], delta=DELTA)
    noise = sampled_noise_multiplier(share, delta=DELTA, sample_rate=BATCH / records, count=STEPS)
    return PrivateTraining(
        network=NETWORK,
        noise_multiplier=noise,
        steps=STEPS,
        batch=BATCH,
        lr=4.0,
        clip=0.5,
        seed=seed,
    )


class Comparison:
    """Teacher, release and proxy of one seed."""

    def __init__(self, bench: Bench, options: argparse.Namespace, seed: int) -> None:
        """Train the teacher, draw the noise of the release, make the proxy."""
        self.bench, self.options, self.seed = bench, options, seed
        training = training_of(options, bench.info.count, seed)
        ledger = Ledger(Budget(epsilon=options.epsilon, delta=DELTA))
        ledger.own("train", bench.sealed)
        with tempfile.TemporaryDirectory() as folder:
            self.teacher = train_privately(ledger, training, folder=Path(folder))[0]
        rung = bench.rung(options.epsilon, beside=(training.mechanism(bench.info.count),))
        self.moments = Moments(bench.statistics, [rung])
        self.settings = CondenseSettings(per_class=10, steps=options.steps, lr=0.05)

    def rows(self) -> Iterator[tuple[str, float]]:
        """Rows of the table with their accuracies in percent."""
        yield "the teacher (DP-SGD)", self.accuracy(self.teacher)
        yield from self.sets()
        yield from self.from_proxy()

    def sets(self) -> Iterator[tuple[str, float]]:
        """Sets of the moments, with and without the teacher."""
        clean = Generalization(FeatureMean())
        made = self.condense(self.moments, (clean,), self.settings)
        yield "set of the release, hard labels", self.trained(made.x, made.labels)
        yield "the same images, the teacher's labels", self.trained(made.x, self.named(made.x))
        agree = TeacherAgreement(Ensembles([[self.teacher]]))
        learned = replace(self.settings, labels="learned")
        # The first loss cannot fall below the noise of the release, the second starts near 0.5.
        frame = Normalisation(ideal=((0.0, 0.0),), nadir=((0.02, 0.5),))
        made = self.condense(self.moments, (clean, agree), learned, share=0.5, frame=frame)
        yield "images and labels agree with the teacher", self.trained(made.x, made.labels)

    def from_proxy(self) -> Iterator[tuple[str, float]]:
        """The proxy, and a set that was condensed from it."""
        short = replace(self.settings, steps=self.options.proxy_steps)
        per_class = self.options.proxy_per_class
        (proxy,) = make_proxies(self.moments, per_class=per_class, settings=short, seed=self.seed)
        named = self.named(proxy.x)
        yield "the proxy, its own labels", self.trained(proxy.x, proxy.labels, epochs=40)
        yield "the proxy, the teacher's labels", self.trained(proxy.x, named, epochs=40)
        taught = Proxy(SyntheticSet(info=self.bench.info, x=proxy.x, labels=named))
        evidence = Proxies(
            [taught],
            epsilons=(self.options.epsilon,),
            bank=Bank(info=self.bench.info, specs=(STUDENT,), seed=self.seed + 1),
            attacked=AttackedBatch(
                attack=Attack(name="pgd-margin", steps=1), threat=Threat(eps=0.0), batch=1
            ),
            batch=128,
        )
        pool = replace(self.settings, steps=250, lr=0.03, labels="learned", pool=8, pool_inner=2)
        made = self.condense(evidence, (Generalization(RidgeRisk(0.05)),), pool)
        yield "set of the proxy, the teacher's labels", self.trained(made.x, made.labels)

    def condense(self, evidence, objectives, settings, *, share=0.0, frame=None) -> SyntheticSet:
        """One set."""
        task = Task(robust_share=share, seed=self.seed)
        done = condense(
            [task],
            evidence=evidence,
            objectives=objectives,
            settings=settings,
            normalisation=frame,
        )
        return done[0].synthetic

    def named(self, x: Tensor) -> Tensor:
        """What the teacher says of images."""
        with torch.no_grad():
            return mean_prediction([self.teacher], x)

    def trained(self, x: Tensor, labels: Tensor, *, epochs: int = 100) -> float:
        """Mean accuracy of two networks trained on records."""
        protocol = replace(self.bench.protocol, epochs=epochs)
        seeds = (SEED + 100 * self.seed + number for number in range(2))
        return mean(
            self.accuracy(fit(x, labels, self.bench.info, protocol, seed=seed)) for seed in seeds
        )

    def accuracy(self, network: nn.Module) -> float:
        """On all test records, in percent."""
        return 100.0 * float(correct(network, *self.bench.test).float().mean())


def main() -> None:
    """Print one Markdown row for each kind of set, mean and spread over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--share", type=float, default=0.6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--proxy-per-class", type=int, default=100)
    parser.add_argument("--proxy-steps", type=int, default=600)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(parse(["--out", str(options.out)]))
    table: dict[str, list[float]] = defaultdict(list)
    for seed in range(options.seeds):
        for name, accuracy in Comparison(bench, options, seed).rows():
            table[name].append(accuracy)
            print(f"seed {seed}, {name}: {accuracy:.1f}", flush=True)
    print("\n| trained on | accuracy % |\n|---|---:|")
    for name, values in table.items():
        print(f"| {name} | {spread(values)} |")


if __name__ == "__main__":
    main()
