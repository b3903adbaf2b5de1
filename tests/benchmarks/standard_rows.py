"""Sets of ten images a class under the field's full protocol: a row of `make gpu`.

    python tests/benchmarks/standard_rows.py dm-sums --device cuda --out row.json

`random`: real images. `dm-batches`: distribution matching to batches of 2,560 records of T under
fresh networks. `dm-sums`: to exact sums under 64 networks that were drawn once. `--small` is a
short form on digits, for a CPU: it shows that the row runs, and its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from sources import source

from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, Task, condense
from moc.data.augment import Augmentation
from moc.data.synthetic import SyntheticSet
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.evaluate.baselines import select
from moc.evaluate.protocols.standard import Standard
from moc.evaluate.robust import correct
from moc.evaluate.trained import Trained
from moc.evidence.base import Evidence
from moc.evidence.moments import Moments
from moc.evidence.samples import Samples
from moc.memory import keep_freed_memory
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.privacy.collect import Collection
from moc.privacy.held_out import reference_records
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans

KINDS = ("random", "dm-batches", "dm-sums")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the set, train networks on it, and write their error on all test records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    keep_freed_memory()
    row = measured(options.kind, options.device, small=options.small)
    options.out.write_text(json.dumps(row, indent=1) + "\n")


def measured(kind: str, device: str, *, small: bool) -> dict[str, Any]:
    """Error of five networks on test records, and the seconds that set and networks took."""
    data, ledger = source("digits" if small else "fashion_mnist"), Ledger(None)
    if small:  # digits have no test records of their own
        parts = data.load("train").split([400, 200], seed=0)
    else:
        parts = data.load("train"), data.load("test")
    for name, part in zip(("train", "test"), parts, strict=True):
        ledger.own(name, part)
    started = time.perf_counter()
    synthetic = _made(kind, ledger, device, small=small)
    made = time.perf_counter()
    info, overrides = ledger.info("train"), {"network": "convnet2-w8", "epochs": 10}
    protocol = Standard(**overrides) if small else Standard()
    seeds = range(700_000, 700_002 if small else 700_005)
    trained = Trained(synthetic, seeds=seeds, device=device)
    networks = trained.by(protocol.resolve(info, Threat(eps=0.1)))
    x, y = (one.to(device) for one in reference_records(ledger, "test"))
    errors = [1 - float(correct(one, x, y).float().mean()) for one in networks]
    return {
        "kind": kind,
        "data": info.name,
        "protocol": protocol.model_dump(mode="json", exclude={"suite"}, exclude_none=True),
        "error": mean(errors),
        "sd": stdev(errors),
        "networks": len(errors),
        "seconds to make": made - started,
        "seconds to train": time.perf_counter() - made,
    }


def _made(kind: str, ledger: Ledger, device: str, *, small: bool) -> SyntheticSet:
    info = ledger.info("train")
    if kind == "random":
        x, y = reference_records(ledger, "train")
        return select("random", x, y, info, per_class=10, seed=0)
    width, networks = ("convnet2-w8", 2) if small else ("convnet3-w32", 64)
    if kind == "dm-batches":
        network, batch, steps = ("convnet2-w8", 64, 5) if small else ("convnet3-w128", 2560, 2000)
        bank = Bank(
            info=info,
            networks=(parse_network(network),),
            seed=0,
            augmentation=Augmentation.dsa(info.mirrored),
            device=device,
        )
        evidence: Evidence = Samples(ledger, bank=bank, batch=batch)
    else:
        steps = 5 if small else 4000
        bank = Bank(info=info, networks=(parse_network(width),), seed=0, device=device)
        statistics = (ClassMeans(), ClassCounts(weight=0.01))
        collection = Collection(bank=bank, networks=networks, statistics=statistics)
        with tempfile.TemporaryDirectory() as folder:
            drawn = draw(ledger, collection, None, folder=Path(folder) / "sums")
        evidence = Moments([(collection, drawn)])
    settings = CondenseSettings(images_per_class=10, steps=steps, labels="hard")
    losses = [Generalization(FeatureMean())]
    return condense([Task(weights=(1.0,))], evidence=evidence, losses=losses, settings=settings)[
        0
    ].synthetic


if __name__ == "__main__":
    main()
