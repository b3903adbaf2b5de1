"""A network trained on T by DP-SGD beside what one release of moments gives, at equal epsilon.

    python tests/benchmarks/dp_training.py digits --seeds 3
    python tests/benchmarks/dp_training.py fashion_mnist --train 60000 --steps 200 --batch 512 \\
        --lr 4 --clip 0.5 --bank-network convnet2-w16-half --bank 16 --width 128

Each row spends the whole epsilon by itself (delta 1e-5), with noise of its own for every seed:
DP-SGD on the records as they are and under attack, heads on released moments (class means, and
ridge on second moments too; logits averaged over the networks of the bank), and networks trained by
the study protocol on a set condensed from released class means. All are scored on the same test
records, declared public. What was tuned by looking at such scores is not covered by any epsilon.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import nn

from moc.attacks import Attack, Threat
from moc.networks.bank import Bank
from moc.condense.loop import CondenseSettings, Task, condense
from moc.data import load
from moc.data.vault import RealData
from moc.discrepancies import FeatureMean, Generalization
from moc.errors import DataError
from moc.evaluate import make_protocol, train
from moc.evaluate.robust import correct
from moc.evidence import (
    Budget,
    Ladder,
    Ledger,
    Moments,
    PrivateTraining,
    Statistics,
    draw,
    linear_heads,
    reference_records,
    train_privately,
)
from moc.privacy.accountant import sampled_noise_multiplier
from moc.networks import NetworkSpec

DELTA = 1e-5
INNER = Attack(name="pgd-ce", steps=4)
OUTER = Attack(name="pgd-margin", steps=20)


class Heads(nn.Module):
    """The mean logits of linear heads (K, d, c) on the networks of a bank."""

    def __init__(self, bank: Bank, heads: torch.Tensor) -> None:
        super().__init__()
        self.members = nn.ModuleList(bank.member(k) for k in range(len(heads)))
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = [m(x) @ head for m, head in zip(self.members, self.heads, strict=True)]
        return torch.stack(logits).mean(0)


class Comparison:
    """The records, and every kind of evidence made from them for one seed."""

    def __init__(self, options: argparse.Namespace, seed: int, folder: Path) -> None:
        self.options, self.seed, self.folder = options, seed, folder
        self.train, test = parts(options, seed)
        self.threat = Threat(eps=options.eps)
        public = Ledger(None)
        public.own("test", test)
        self.x, self.y = reference_records(public, "test")
        self.epsilons = tuple(sorted(options.epsilons, reverse=True))

    def ledger(self, epsilon: float) -> Ledger:
        """A budget of its own."""
        ledger = Ledger(Budget(epsilon=epsilon, delta=DELTA))
        ledger.own("train", self.train)
        return ledger

    def trained(self, epsilon: float, attack: Attack | None) -> nn.Module:
        """A network trained by DP-SGD."""
        o = self.options
        rate = o.batch / len(self.train)
        sigma = sampled_noise_multiplier(epsilon, delta=DELTA, sample_rate=rate, count=o.steps)
        training = PrivateTraining(
            network=NetworkSpec.parse(o.network),
            noise_multiplier=sigma,
            steps=o.steps,
            batch=o.batch,
            clip=o.clip,
            lr=o.lr if epsilon > 2 else o.lr / 2,
            attack=attack,
            threat=self.threat,
            seed=self.seed,
        )
        place = self.folder / f"{epsilon:g}-{attack and attack.label}"
        ledger = self.ledger(epsilon)
        network = train_privately(ledger, training, folder=place)[0]
        assert ledger.epsilon() <= epsilon
        return network

    def moments(self, second: float) -> tuple[Statistics, list]:
        """A release of class means, or of second moments too, on every rung."""
        o = self.options
        bank = Bank(
            info=self.train.info,
            specs=(NetworkSpec.parse(o.bank_network),),
            seed=self.seed,
            width=o.width,
        )
        statistics = Statistics(bank=bank, networks=o.bank, mean=1 - second, second=second)
        ladder = Ladder(epsilons=self.epsilons, delta=DELTA)
        ledger = self.ledger(self.epsilons[0])
        return statistics, draw(ledger, statistics, ladder, folder=self.folder / f"r{second}")

    def condensed(self, statistics: Statistics, rungs: list) -> list[nn.Module]:
        """For each rung, a network trained on a set that was condensed from it."""
        o = self.options
        made = condense(
            [Task(robust_share=0.0, rung=r, seed=self.seed) for r in range(len(rungs))],
            evidence=Moments(statistics, rungs),
            objectives=(Generalization(FeatureMean()),),
            settings=CondenseSettings(per_class=o.per_class, steps=o.condense_steps),
        )
        protocol = make_protocol("fast", self.train.info, self.threat)
        return [train(one.synthetic, protocol, seed=self.seed) for one in made]

    def score(self, network: nn.Module, robust: int) -> list[float]:
        """Accuracy, and accuracy under attack of the first `robust` records, in percent."""
        clean = float(correct(network, self.x, self.y).float().mean())
        x, y = self.x[:robust], self.y[:robust]
        classes = len(self.train.info.classes)
        attacked = OUTER(network, x, y, threat=self.threat, classes=classes, seed=0)
        return [100 * clean, 100 * float(correct(network, attacked, y).float().mean())]

    def rows(self):
        """(row, epsilon, network, CPU seconds) of everything that is compared."""
        yield from self.training_rows() if "training" in self.options.kinds else ()
        yield from self.release_rows() if "release" in self.options.kinds else ()

    def training_rows(self):
        """Those trained on T."""
        for attack in (None, INNER) if self.options.attacked else (None,):
            for epsilon in self.epsilons:
                start = time.process_time()
                network = self.trained(epsilon, attack)
                name = "DP-SGD" if attack is None else "DP-SGD, records attacked"
                yield name, epsilon, network, time.process_time() - start

    def release_rows(self):
        """Those made from a release."""
        for second, name in ((0.0, "class-mean heads"), (0.5, "ridge heads")):
            start = time.process_time()
            statistics, rungs = self.moments(second)
            seconds = (time.process_time() - start) / len(rungs)
            for rung in rungs:
                heads = linear_heads(statistics, rung)
                yield f"{name} on a release", rung.epsilon, Heads(statistics.bank, heads), seconds
            if second == 0:
                start = time.process_time()
                networks = self.condensed(statistics, rungs)
                seconds += (time.process_time() - start) / len(rungs)
                for rung, network in zip(rungs, networks, strict=True):
                    yield "network trained on S", rung.epsilon, network, seconds


def parts(options: argparse.Namespace, seed: int) -> tuple[RealData, RealData]:
    """T and test records."""
    whole = load(options.source)
    try:
        test = load(options.source, part="test").split([options.test], seed=seed)[0]
        return whole.split([options.train], seed=seed)[0], test
    except DataError:
        train, test = whole.split([options.train, options.test], seed=seed)
        return train, test


def main() -> None:
    """Print one Markdown row for each kind of evidence and epsilon, as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", choices=("digits", "fashion_mnist"))
    parser.add_argument("--kinds", nargs="+", default=["training", "release"])
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--robust", type=int, default=300)
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("--epsilons", type=float, nargs="+", default=[8.0, 4.0, 1.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--network", default="convnet2-w16")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--lr", type=float, default=2.0, help="halved for epsilon of at most 2")
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--attacked", action="store_true", help="DP-SGD under attack too")
    parser.add_argument("--bank-network", default="convnet2-w16")
    parser.add_argument("--bank", type=int, default=64)
    parser.add_argument("--width", type=int)
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--condense-steps", type=int, default=250)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = defaultdict(list)
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            compared = Comparison(options, seed, Path(folder))
            for name, epsilon, network, seconds in compared.rows():
                scores = compared.score(network, options.robust)
                table[name, epsilon].append([*scores, seconds])
                print(f"seed {seed}, {name}, epsilon {epsilon:g}: {scores}", flush=True)
    print(
        "| evidence | epsilon | accuracy % | robust accuracy % | CPU s |\n|---|---:|---:|---:|---:|"
    )
    for (name, epsilon), found in table.items():
        cells = [spread([one[i] for one in found]) for i in range(2)]
        seconds = mean(one[2] for one in found)
        print(f"| {name} | {epsilon:g} | {cells[0]} | {cells[1]} | {seconds:.0f} |")


def spread(values: list[float]) -> str:
    """Mean ± standard deviation over seeds."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
