"""Sets of ten images a class under the field's full protocol: a row of `make gpu`.

    python tests/benchmarks/standard_rows.py dm-sums --device cuda --out row.json
    python tests/benchmarks/standard_rows.py frepo --seed 1 --device cuda --out row.json
    python tests/benchmarks/standard_rows.py m3d --device cpu --cost --out cost.json
    python tests/benchmarks/standard_rows.py frepo --device cpu --under convnet3-w32 --batch 256 \
        --networks 1 --out row.json

`random`: real images. `dm-batches`, `frepo`, `m3d`: the named method on batches of T; `frepo-2x2`
with four images in each that is stored. `dm-sums`: distribution matching to exact sums under 64
networks that were drawn once. `--cost` takes a few steps alone, under sums of one network, and says
what the whole would take here. `--under`, `--batch` and `--steps` make a cheaper set, for a CPU,
which the same protocol judges; `--formation` gives a method another number of images. `--small` is
a short form on digits: it shows that the row runs, and its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from bench_things import clock
from sources import source

from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, Task, condense
from moc.data.augment import Augmentation
from moc.data.synthetic import SyntheticSet
from moc.discrepancies.base import Generalization
from moc.evaluate.baselines import select
from moc.evaluate.protocols.standard import Standard
from moc.evaluate.robust import correct
from moc.evaluate.trained import Trained
from moc.evidence.base import Evidence
from moc.evidence.moments import Moments
from moc.evidence.samples import Samples
from moc.memory import keep_freed_memory
from moc.methods import method_called
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.privacy.collect import Collection
from moc.privacy.held_out import reference_records
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a named method is run on batches of T.

    Attributes:
        method: Its name.
        batch: Records of T in each step.
        steps: Steps on S.
        lr: Adam's learning rate.
        network: Under which random networks, or in a pool of which.
        augmented: Whether S and T are seen under one DSA draw a network.
        formation: Every stored image is cut in so many, squared; as the method does if left out.
    """

    method: str
    batch: int
    steps: int = 2000
    lr: float = 0.03
    network: str = "convnet3-w128"
    augmented: bool = True
    formation: int | None = None


RECIPES = {
    "dm-batches": Recipe(method="dm", batch=2560, lr=0.05),
    "frepo": Recipe(method="frepo", batch=1024, augmented=False),
    "frepo-2x2": Recipe(method="frepo", batch=1024, augmented=False, formation=2),
    "m3d": Recipe(method="m3d", batch=2560),
}
KINDS = ("random", "dm-sums", *RECIPES)
SUMS_STEPS = 4000
FEW, EPOCHS = 3, 5
"""Steps and epochs that `--cost` takes."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the set, train networks on it, and write their error on all test records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=0, help="of start, networks and batches")
    parser.add_argument("--networks", type=int, default=5, help="to train on the set")
    parser.add_argument("--under", help="networks of this architecture, in place of the recipe's")
    parser.add_argument("--batch", type=int, help="records of T a step")
    parser.add_argument("--steps", type=int, help="steps on S")
    parser.add_argument("--formation", type=int, help="cut every stored image in so many, squared")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--cost", action="store_true", help="what the whole would take")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    keep_freed_memory()
    row = _cost(options) if options.cost else _row(options)
    options.out.write_text(json.dumps(row, indent=1) + "\n")
    print(json.dumps(row))


def _row(options: argparse.Namespace) -> dict[str, Any]:
    """Error of networks on test records, and the seconds that set and networks took."""
    ledger, started = _owned(options), clock(options.device)
    synthetic = _made(options, ledger)
    made = clock(options.device)
    training = _protocol(options).resolve(ledger.info("train"), Threat(eps=0.1))
    first = 700_000 + 1_000 * options.seed
    seeds = range(first, first + (2 if options.small else options.networks))
    networks = Trained(synthetic, seeds=seeds, device=options.device).by(training)
    x, y = (one.to(options.device) for one in reference_records(ledger, "test"))
    errors = [1 - float(correct(one, x, y).float().mean()) for one in networks]
    return {
        "kind": options.kind,
        "seed": options.seed,
        "data": ledger.info("train").name,
        "protocol": _protocol(options).model_dump(
            mode="json", exclude={"suite"}, exclude_none=True
        ),
        "error": mean(errors),
        "sd": stdev(errors) if len(errors) > 1 else None,
        "networks": len(errors),
        "under": options.under,
        "batch": options.batch,
        "formation": _formation(options),
        "steps": _steps(options),
        "seconds to make": made - started,
        "seconds to train": clock(options.device) - made,
    }


def _cost(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds that set and networks would take, from a few steps, and epochs of one network.

    On a CPU these are seconds of one core.
    """
    steps = _steps(options)
    (synthetic, first), (_, second), (_, third) = (
        _timed(options, count) for count in (1, 1, 1 + FEW)
    )
    step = max(third - second, 0.0) / FEW if steps else 0.0
    training = _protocol(options).resolve(synthetic.info, Threat(eps=0.1))
    short = training.model_copy(update={"epochs": EPOCHS})
    start = clock(options.device)
    Trained(synthetic, seeds=[0], device=options.device).by(short)
    epoch = (clock(options.device) - start) / EPOCHS
    return {
        "kind": options.kind,
        "device": options.device,
        "seconds a step": step,
        "steps": steps,
        "seconds to make": first + step * max(steps - 1, 0),
        "seconds to train one network": epoch * training.epochs,
        "networks": options.networks,
    }


def _timed(options: argparse.Namespace, steps: int) -> tuple[SyntheticSet, float]:
    """A set after a few steps, with the seconds that it took; sums are under one network here."""
    ledger, start = _owned(options), clock(options.device)
    made = _made(options, ledger, steps=steps, networks=1)
    return made, clock(options.device) - start


def _protocol(options: argparse.Namespace) -> Standard:
    return (
        Standard(network=parse_network("convnet2-w8"), epochs=10) if options.small else Standard()
    )


def _steps(options: argparse.Namespace) -> int:
    if options.kind == "random":
        return 0
    if options.small:
        return 5
    own = RECIPES[options.kind].steps if options.kind in RECIPES else SUMS_STEPS
    return own if options.steps is None else options.steps


def _formation(options: argparse.Namespace) -> int | None:
    recipe = RECIPES.get(options.kind)
    return options.formation or (recipe.formation if recipe else None)


def _owned(options: argparse.Namespace) -> Ledger:
    """A ledger of training and test records."""
    data, ledger = source("digits" if options.small else "fashion_mnist"), Ledger(None)
    if options.small:  # digits have no test records of their own
        parts = data.load("train").split([400, 200], seed=0)
    else:
        parts = data.load("train"), data.load("test")
    for name, part in zip(("train", "test"), parts, strict=True):
        ledger.own(name, part)
    return ledger


def _made(
    options: argparse.Namespace,
    ledger: Ledger,
    *,
    steps: int | None = None,
    networks: int | None = None,
) -> SyntheticSet:
    """The set, of ten images a class; of all steps and sums under all networks, if not said."""
    info, seed = ledger.info("train"), options.seed
    steps = _steps(options) if steps is None else steps
    if options.kind == "random":
        x, y = reference_records(ledger, "train")
        return select("random", x, y, info, per_class=10, seed=seed)
    recipe = RECIPES.get(options.kind)
    if recipe is None:
        evidence: Evidence = _sums(options, ledger, networks)
        method, lr = method_called("dm"), 0.05
    else:
        evidence = _batches(options, ledger, recipe)
        method, lr = method_called(recipe.method), recipe.lr
    own = dict(method.study["condense"])
    if (formation := _formation(options)) is not None:
        own["decoder"] = {"multi_formation": formation}
    size = 2 if options.small else 10
    settings = CondenseSettings.model_validate(
        {**own, "images_per_class": size, "lr": lr, "steps": steps}
    )
    (made,) = condense(
        [Task(weights=(1.0,), seed=seed)],
        evidence=evidence,
        losses=[Generalization(method.discrepancy)],
        settings=settings,
    )
    return made.synthetic


def _batches(options: argparse.Namespace, ledger: Ledger, recipe: Recipe) -> Samples:
    info, name = ledger.info("train"), options.under or recipe.network
    bank = Bank(
        info=info,
        networks=(parse_network("convnet2-w8" if options.small else name),),
        seed=options.seed,
        augmentation=Augmentation.dsa(info.mirrored) if recipe.augmented else None,
        device=options.device,
    )
    return Samples(ledger, bank=bank, batch=64 if options.small else options.batch or recipe.batch)


def _sums(options: argparse.Namespace, ledger: Ledger, networks: int | None) -> Moments:
    """Exact sums under networks that are drawn once."""
    name, every = ("convnet2-w8", 2) if options.small else ("convnet3-w32", 64)
    bank = Bank(
        info=ledger.info("train"),
        networks=(parse_network(name),),
        seed=options.seed,
        device=options.device,
    )
    statistics = (ClassMeans(), ClassCounts(weight=0.01))
    collection = Collection(bank=bank, networks=networks or every, statistics=statistics)
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw(ledger, collection, None, folder=Path(folder) / "sums")
    return Moments([(collection, drawn)])


if __name__ == "__main__":
    main()
