"""A network trained on T by DP-SGD beside what one release gives, at equal epsilon.

    python tests/benchmarks/dp_training.py digits --seeds 3
    python tests/benchmarks/dp_training.py fashion_mnist --train 60000 --steps 200 --batch 512 \\
        --lr 4 --clip 0.5 --release-network convnet2-w16-half --count 16

Each row spends the whole epsilon by itself (delta 1e-5), with noise of its own for every seed:
DP-SGD by opacus' PrivacyEngine (PRV accountant, Poisson batches), heads on released class means
(logits averaged over the networks of the release), and networks trained by the fast protocol on a
set condensed from the same release. All are scored on the same test records, declared public. What
was tuned by looking at such scores is not covered by any epsilon.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from opacus import PrivacyEngine
from sources import source
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from moc.attacks.gradient import PgdMargin
from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, Task, condense
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import correct
from moc.evidence.moments import Moments
from moc.memory import keep_freed_memory
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.networks.network import build
from moc.networks.train import train
from moc.privacy.access import Budget
from moc.privacy.collect import Collection
from moc.privacy.held_out import reference_records
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_means import ClassMeans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moc.data import RealData

DELTA = 1e-5
OUTER = PgdMargin(steps=20)


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
    """The records, and everything that is made from them for one seed."""

    def __init__(self, options: argparse.Namespace, seed: int, folder: Path) -> None:
        self.options, self.seed, self.folder = options, seed, folder
        self.train, test = parts(options, seed)
        self.threat = Threat(eps=options.eps)
        public = Ledger(None)
        public.own("train", self.train)
        public.own("test", test)
        self.records = reference_records(public, "train")
        self.x, self.y = reference_records(public, "test")
        self.epsilons = tuple(sorted(options.epsilons, reverse=True))

    def trained(self, epsilon: float) -> nn.Module:
        """A network trained by DP-SGD."""
        o = self.options
        torch.manual_seed(self.seed)
        network = build(parse_network(o.network), self.train.info, seed=self.seed).train()
        rate = o.lr if epsilon > 2 else o.lr / 2
        engine = PrivacyEngine(accountant="prv")
        private, optimiser, loader = engine.make_private_with_epsilon(
            module=network,
            optimizer=torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9),
            data_loader=DataLoader(TensorDataset(*self.records), batch_size=o.batch),
            target_epsilon=epsilon,
            target_delta=DELTA,
            epochs=max(round(o.steps * o.batch / len(self.train)), 1),
            max_grad_norm=o.clip,
        )
        done = 0
        while done < o.steps:
            for x, y in loader:
                if done == o.steps:
                    break
                optimiser.zero_grad()
                F.cross_entropy(private(x), y).backward()
                optimiser.step()
                done += 1
        assert engine.get_epsilon(DELTA) <= epsilon * 1.01
        plain = build(parse_network(o.network), self.train.info, seed=self.seed)
        plain.load_state_dict(network.state_dict())  # without opacus' hooks
        return plain.eval().requires_grad_(False)

    def moments(self) -> tuple[Collection, Moments]:
        """A release of class means on every rung."""
        o = self.options
        bank = Bank(
            info=self.train.info, networks=(parse_network(o.release_network),), seed=self.seed
        )
        collection = Collection(bank=bank, networks=o.count, statistics=(ClassMeans(),))
        ladder = Ladder(epsilons=self.epsilons, delta=DELTA)
        ledger = Ledger(Budget(epsilon=self.epsilons[0], delta=DELTA))
        everyone = torch.ones(len(self.train), dtype=torch.bool)
        ledger.own("train", self.train.thinned(everyone, declared=len(self.train)))
        released = draw(ledger, collection, ladder, folder=self.folder / "release")
        return collection, Moments([(collection, released)])

    def heads(self, collection: Collection, moments: Moments, rung: int) -> Heads:
        """The class-mean classifier of one rung under every network."""
        views = [moments.view(k, [rung]) for k in range(collection.networks)]
        means = torch.cat([view.statistic(ClassMeans()) for view in views])
        return Heads(collection.bank, (means - means.mean(1, keepdim=True)).mT)

    def condensed(self, moments: Moments) -> list[nn.Module]:
        """For each rung, a network trained on a set that was condensed from it."""
        o = self.options
        made = condense(
            [Task(weights=(1.0,), rung=rung.index, seed=self.seed) for rung in moments.rungs],
            evidence=moments,
            losses=(Generalization(FeatureMean()),),
            settings=CondenseSettings(images_per_class=o.per_class, steps=o.condense_steps),
        )
        training = Fast().resolve(self.train.info, self.threat)
        return [train(one.synthetic, training, seed=self.seed) for one in made]

    def score(self, network: nn.Module, robust: int) -> list[float]:
        """Accuracy, and accuracy under attack of the first `robust` records, in percent."""
        clean = float(correct(network, self.x, self.y).float().mean())
        x, y = self.x[:robust], self.y[:robust]
        classes = len(self.train.info.classes)
        attacked = OUTER(network, x, y, threat=self.threat, classes=classes, seed=0)
        return [100 * clean, 100 * float(correct(network, attacked, y).float().mean())]

    def rows(self) -> Iterator[tuple[str, float, nn.Module, float]]:
        """(row, epsilon, network, CPU seconds) of everything that is compared."""
        for epsilon in self.epsilons if "training" in self.options.kinds else ():
            start = time.process_time()
            network = self.trained(epsilon)
            yield "DP-SGD", epsilon, network, time.process_time() - start
        if "release" in self.options.kinds:
            yield from self.release_rows()

    def release_rows(self) -> Iterator[tuple[str, float, nn.Module, float]]:
        """Those made from the release."""
        start = time.process_time()
        collection, moments = self.moments()
        seconds = (time.process_time() - start) / len(self.epsilons)
        for rung, epsilon in enumerate(self.epsilons):
            yield "class-mean heads", epsilon, self.heads(collection, moments, rung), seconds
        start = time.process_time()
        networks = self.condensed(moments)
        seconds += (time.process_time() - start) / len(networks)
        for epsilon, network in zip(self.epsilons, networks, strict=True):
            yield "network trained on S", epsilon, network, seconds


def parts(options: argparse.Namespace, seed: int) -> tuple[RealData, RealData]:
    """T and test records."""
    data = source(options.source)
    whole = data.load()
    if data.has_test:
        test = data.load("test").split([options.test], seed=seed)[0]
        return whole.split([options.train], seed=seed)[0], test
    train, test = whole.split([options.train, options.test], seed=seed)
    return train, test


def main() -> None:
    """Print one Markdown row for each kind of evidence and epsilon, as it comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("source", choices=("digits", "fashion_mnist"))
    add("--kinds", nargs="+", default=["training", "release"])
    add("--train", type=int, default=1000)
    add("--test", type=int, default=500)
    add("--robust", type=int, default=300)
    add("--eps", type=float, default=0.1)
    add("--epsilons", type=float, nargs="+", default=[8.0, 4.0, 1.0])
    add("--seeds", type=int, default=1)
    add("--network", default="convnet2-w16")
    add("--steps", type=int, default=60)
    add("--batch", type=int, default=250)
    add("--lr", type=float, default=0.5, help="halved for epsilon of at most 2")
    add("--clip", type=float, default=1.0)
    add("--release-network", default="convnet2-w16")
    add("--count", type=int, default=64, help="networks of the release")
    add("--per-class", type=int, default=10)
    add("--condense-steps", type=int, default=250)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    table = defaultdict(list)
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            compared = Comparison(options, seed, Path(folder))
            for name, epsilon, network, seconds in compared.rows():
                scores = compared.score(network, options.robust)
                table[name, epsilon].append([*scores, seconds])
                print(f"seed {seed}, {name}, epsilon {epsilon:g}: {scores}", flush=True)
    print("| made from T | epsilon | accuracy % | robust accuracy % | CPU s |")
    print("|---|---:|---:|---:|---:|")
    for (name, epsilon), found in table.items():
        cells = [spread([one[i] for one in found]) for i in range(2)]
        seconds = mean(one[2] for one in found)
        print(f"| {name} | {epsilon:g} | {cells[0]} | {cells[1]} | {seconds:.0f} |")


def spread(values: list[float]) -> str:
    """Mean ± standard deviation over seeds."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
