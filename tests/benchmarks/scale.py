"""The cost model of docs/scale.md against what this machine needs.

Each stage is timed once at a base point, which gives the one constant of its model, and then where
N, K, B, M, steps, epochs or the image differ: what the model says stands beside what it took, in
seconds of CPU, the least of several runs.

python tests/benchmarks/scale.py
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from moc.condense.loop import Task, condense
from moc.condense.settings import CondenseSettings
from moc.data.declared import DataInfo
from moc.data.vault import RealData
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.evidence.moments import Moments
from moc.memory import keep_freed_memory
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.networks.train import SGD, Training, fit
from moc.privacy.collect import Collection
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_means import ClassMeans

NETWORK, RUNS = parse_network("convnet3-w32"), 3
SHAPES = {16: (3, 16, 16), 32: (3, 32, 32), 64: (3, 64, 64)}


def moments_of(*, n: int, k: int, side: int) -> Moments:
    """Exact sums of random records: the pass over T."""
    info = DataInfo(
        name="random", shape=SHAPES[side], classes=tuple("0123456789"), count=n, mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )  # fmt: skip
    ledger = Ledger(None)
    ledger.own("train", RealData(info=info, x=torch.rand(n, *info.shape), y=torch.arange(n) % 10))
    bank = Bank(info=info, networks=(NETWORK,), seed=0)
    collection = Collection(bank=bank, networks=k, statistics=(ClassMeans(),))
    with tempfile.TemporaryDirectory() as folder:
        return Moments([(collection, draw(ledger, collection, None, folder=Path(folder) / "r"))])


def the_pass(*, n: int, k: int, side: int) -> Callable[[], object]:
    moments_of(n=256, k=k, side=side)  # networks are built once, whatever N is
    return lambda: moments_of(n=n, k=k, side=side)


def condensing(*, steps: int, b: int, m: int, side: int) -> Callable[[], object]:
    evidence = moments_of(n=256, k=2, side=side)
    settings = CondenseSettings(images_per_class=m // 10, steps=steps, labels="hard")
    losses = (Generalization(FeatureMean()),)
    tasks = [Task(weights=(1.0,), rung=0, seed=seed) for seed in range(b)]
    return lambda: condense(tasks, evidence=evidence, losses=losses, settings=settings)


def training(*, r: int, epochs: int, m: int, side: int) -> Callable[[], object]:
    info = moments_of(n=256, k=1, side=side).info
    x, labels = torch.rand(m, *info.shape), torch.eye(10)[torch.arange(m) % 10]
    how = Training(network=NETWORK, epochs=epochs, sgd=SGD(lr=0.01))
    return lambda: [fit(x, labels, info, how, seed=seed) for seed in range(r)]


STAGES = {
    "the pass over T: N K pixels": (
        the_pass,
        {"n": 1024, "k": 2, "side": 32},
        [{"n": 4096}, {"k": 8}, {"side": 16}, {"side": 64}],
    ),
    "condensing: steps B M pixels": (
        condensing,
        {"steps": 10, "b": 2, "m": 50, "side": 32},
        [{"steps": 40}, {"b": 8}, {"m": 200}, {"side": 16}, {"side": 64}],
    ),
    "training for scores: R epochs M pixels": (
        training,
        {"r": 2, "epochs": 10, "m": 100, "side": 32},
        [{"r": 6}, {"epochs": 40}, {"m": 400}, {"side": 16}, {"side": 64}],
    ),
}


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one run, the least of several."""
    found = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Print a row for every point: what the model says, what it took, and their ratio."""
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"| stage | point | model, s | measured, s | model / measured |\n|{'---|' * 5}")
    for name, (stage, base, others) in STAGES.items():
        took = seconds(stage(**base))
        words = " ".join(f"{key}={value}" for key, value in base.items())
        print(f"| {name} | {words} | the base | {took:.2f} | 1 |", flush=True)
        for changes in others:
            factors = [
                (value / base[key]) ** (2 if key == "side" else 1) for key, value in changes.items()
            ]
            model, found = took * math.prod(factors), seconds(stage(**{**base, **changes}))
            words = " ".join(f"{key}={value}" for key, value in changes.items())
            print(f"| | {words} | {model:.2f} | {found:.2f} | {model / found:.2f} |", flush=True)


if __name__ == "__main__":
    main()
