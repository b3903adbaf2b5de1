"""Private sets by one round and by more, those after the first under networks that learned.

    python tests/benchmarks/private_rounds.py digits --seeds 0 1 2

Every variant draws a release of its own for the whole budget, by the code that draws it in a
study: `one` round, two of `random` networks, or two or `three` of which the later ones are under
networks that were trained on a set of those before (`learned`, `three`). Of each rung a set is made
by feature means (`moments`); or a proxy, and of the proxy a set by ridge risk under random networks
(`proxy`) or under networks that learn from the set, as in FRePo (`pool`). Networks are trained on
each set; their test error is in percent, mean and standard deviation over the seeds, which redraw
split, noise, networks and starts. Nothing is chosen. Finished cells are lines of OUT/cells.jsonl,
which a second run reads.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from moc.condense import CondenseSettings, PoolSettings, Task, condense
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.ridge import RidgeRisk
from moc.evaluate.protocols import PROTOCOLS
from moc.evaluate.robust import correct
from moc.evaluate.trained import Trained
from moc.memory import keep_freed_memory
from moc.privacy.held_out import reference_records
from moc.privacy.ledger import Ledger
from moc.study.config import StudyConfig, parse_config
from moc.study.context import StudyContext, budget_of
from moc.study.division import parts_of, public_parts
from moc.study.reporter import Silent

DATA: dict[str, dict[str, Any]] = {
    "digits": {
        "network": "convnet2-w32",
        "data": {"source": "digits", "train": 1000, "validation": 100, "test": 500},
    },
    "fashion": {
        "network": "convnet3-w32",
        "data": {"source": "fashion_mnist", "train": 10000, "validation": 100, "test": 2000},
    },
}


VARIANTS = ["one", "random", "learned", "three"]
RECIPES = ["moments", "proxy", "pool"]


def rounds(variant: str, options: argparse.Namespace, network: str) -> list[dict[str, Any]]:
    """The `[[rounds]]` of a variant."""
    count = options.networks
    first = {"networks": [network], "count": count, "augmentation": options.data != "digits"}
    if variant == "one":
        return [first]
    later = 2 if variant == "three" else 1
    share = (1 - options.share) / later
    second: dict[str, Any] = {**first, "share": share, "count": options.second or count}
    if variant != "random":
        second["learned"] = {
            "images_per_class": options.learn_from,
            "steps": options.steps,
            "ages": options.ages,
        }
    return [{**first, "share": options.share}, *[second] * later]


def config_of(variant: str, options: argparse.Namespace, seed: int) -> StudyConfig:
    """A private study of that variant."""
    chosen = DATA[options.data]
    network = options.network or chosen["network"]
    sizes = {"train": options.train, "test": options.test}
    data = chosen["data"] | {name: size for name, size in sizes.items() if size}
    return parse_config(
        {
            "name": f"rounds-{variant}",
            "seed": seed,
            "threads": 1,
            "data": {**data, "split_seed": seed, "public": ["validation", "test"]},
            "privacy": {"epsilons": options.epsilons},
            "rounds": rounds(variant, options, network),
            "evidence": {
                "kind": "proxy",
                "images_per_class": options.proxy,
                "steps": options.steps,
                "lr": 0.05,
                "networks": [options.seen_under or chosen["network"]],
            },
            "objectives": {"error": {"discrepancy": "ridge-risk"}, "epsilon": {}},
            "condense": {"images_per_class": options.per_class, "steps": 10},
        },
        where="private_rounds.py",
    )


def measure(variant: str, options: argparse.Namespace, seed: int) -> dict[str, dict[str, float]]:
    """Test error in percent by recipe and epsilon."""
    config = config_of(variant, options, seed)
    ledger = Ledger(budget_of(config))
    for name, part in parts_of(config).items():
        ledger.own(name, part, public=name in public_parts(config))
    with tempfile.TemporaryDirectory() as place:
        context = StudyContext(config, ledger, folder=Path(place), reporter=Silent())
        moments = context.moments()
        proxies = context.evidence if {"proxy", "pool"} & set(options.recipes) else moments
    device, info = context.device, ledger.info("train")
    x, y = (part.to(device) for part in reference_records(ledger, "test"))
    training = PROTOCOLS.make(options.protocol).resolve(info, config.threat)
    found: dict[str, dict[str, float]] = {}
    for recipe in options.recipes:
        direct = recipe == "moments"
        sets = condense(
            [Task(weights=(1.0,), rung=r, seed=seed) for r in range(len(options.epsilons))],
            evidence=moments if direct else proxies,
            losses=(Generalization(FeatureMean() if direct else RidgeRisk()),),
            settings=CondenseSettings(
                images_per_class=options.per_class,
                steps=options.steps * 2 if direct else options.condense_steps,
                lr=0.05 if direct else 0.02,
                labels="hard" if direct else "learned",
                pool=PoolSettings() if recipe == "pool" else None,
            ),
        )
        found[recipe] = {}
        for epsilon, one in zip(options.epsilons, sets, strict=True):
            trained = Trained(one.synthetic, seeds=range(900, 900 + options.trained), device=device)
            right = [float(correct(net, x, y).float().mean()) for net in trained.by(training)]
            found[recipe][f"{epsilon:g}"] = 100 * (1 - mean(right))
    return found


def main() -> None:
    """Measure what is missing, then print what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", choices=DATA)
    add("--out", type=Path, default=Path("runs/private-rounds"))
    add("--variants", nargs="+", choices=VARIANTS, default=VARIANTS[:3])
    add("--recipes", nargs="+", choices=RECIPES, default=RECIPES[:2])
    add("--epsilons", nargs="+", type=float, default=[8.0, 4.0, 2.0, 1.0])
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--network", help="of the rounds")
    add("--seen-under", help="network that sets and proxies are compared under, if another")
    add("--networks", type=int, default=64, help="of a round")
    add("--second", type=int, help="networks of later rounds, if others")
    add("--share", type=float, default=0.5, help="of the first of several rounds")
    add("--ages", nargs="+", type=int, default=[10, 20, 40, 80, 160, 320])
    add("--learn-from", type=int, default=50, help="images a class of the first round's set")
    add("--proxy", type=int, default=50, help="images a class")
    add("--per-class", type=int, default=10)
    add("--steps", type=int, default=300, help="of proxies; sets by feature means take twice")
    add("--condense-steps", type=int, default=250)
    add("--trained", type=int, default=3, help="networks trained on each set")
    add("--protocol", choices=PROTOCOLS.parts, default="fast", help="by which they are trained")
    add("--train", type=int, help="records of T, if others")
    add("--test", type=int, help="test records, if others")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "cells.jsonl"
    cells = [json.loads(line) for line in path.open()] if path.exists() else []
    told = {k: v for k, v in vars(options).items() if k not in ("out", "seeds", "variants")}
    for seed in options.seeds:
        for variant in options.variants:
            key = json.loads(json.dumps({**told, "variant": variant, "seed": seed}))
            if all(cell["key"] != key for cell in cells):
                cells.append({"key": key, "error": measure(variant, options, seed)})
                with path.open("a") as file:
                    file.write(json.dumps(cells[-1]) + "\n")
                print(variant, seed, cells[-1]["error"], flush=True)
    show(cells, told, options)


def show(cells: list[dict[str, Any]], told: dict[str, Any], options: argparse.Namespace) -> None:
    """Print mean and spread over the seeds."""
    same = json.loads(json.dumps(told))
    print("\n| recipe, rounds | " + " | ".join(f"epsilon {e:g}" for e in options.epsilons) + " |")
    print("|---|" + "---:|" * len(options.epsilons))
    for recipe in options.recipes:
        for variant in options.variants:
            own = [
                cell["error"][recipe]
                for cell in cells
                if {k: v for k, v in cell["key"].items() if k not in ("variant", "seed")} == same
                and cell["key"]["variant"] == variant
            ]
            row = [[one[f"{e:g}"] for one in own] for e in options.epsilons]
            words = (f"{mean(v):.1f} ± {stdev(v) if len(v) > 1 else 0:.1f}" for v in row)
            print(f"| {recipe}, {variant} | " + " | ".join(words) + " |")


if __name__ == "__main__":
    main()
