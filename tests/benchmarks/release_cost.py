"""Time and memory of one release of a source's training records.

python tests/benchmarks/release_cost.py fashion_mnist --networks 16 --network convnet2-w32
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch
from sources import source

from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.privacy.access import Budget
from moc.privacy.collect import Collection
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans


def main() -> None:
    """Draw a release into a temporary folder and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--network", default="convnet2-w32")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ledger = Ledger(Budget(epsilon=8.0))
    info = ledger.own("train", source(options.source).load())
    bank = Bank(info=info, networks=(parse_network(options.network),), seed=0)
    statistics = (ClassMeans(), ClassCounts(weight=0.01))
    collection = Collection(bank=bank, networks=options.networks, statistics=statistics)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        draw(ledger, collection, Ladder(epsilons=(8.0, 1.0)), folder=Path(folder) / "release")
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{info.count} records of {info.name}, K={options.networks} {options.network}, "
        f"{options.threads} threads: {seconds:.0f} s, peak memory {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
