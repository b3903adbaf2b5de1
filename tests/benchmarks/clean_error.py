"""Clean error of stored sets on all test records of a source, beside random real subsets.

    python tests/benchmarks/clean_error.py runs/fashion-mnist trial-005 trial-009 --networks 5

Scores of a study come from a few hundred records, because attacks are dear; this measures clean
error alone, on all test records, by the study's own protocol. It chooses nothing. Real subsets are
drawn from the training records with as many public seeds as `--subsets` says.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev

import torch
from robustness_subjects import read_config

from moc.data.storage import load_set
from moc.evaluate.baselines import select
from moc.evaluate.robust import correct
from moc.memory import keep_freed_memory
from moc.networks.train import fit
from moc.privacy.held_out import reference_records
from moc.privacy.ledger import Ledger

SEED = 900_000  # networks that no study has used


def main() -> None:
    """Print a line for each set and for the real subsets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--subsets", type=int, default=5)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    config = read_config(options.folder)
    ledger = Ledger(None)
    for part in ("train", "test"):
        ledger.own(part, config.data.source.load(part))
    info = ledger.info("train")
    protocol = config.evaluate.protocol.resolve(info, config.threat)
    xt, yt = reference_records(ledger, "test")

    def errors(x: torch.Tensor, labels: torch.Tensor, networks: int) -> list[float]:
        trained = (fit(x, labels, info, protocol, seed=SEED + number) for number in range(networks))
        return [1.0 - float(correct(network, xt, yt).float().mean()) for network in trained]

    for name in options.sets:
        synthetic = load_set(options.folder / "sets" / f"{name}.safetensors")
        show(name, errors(*synthetic.training_records(), options.networks))
    x, y = reference_records(ledger, "train")
    per_class = config.condense.images_per_class
    subsets = [
        select("random", x, y, info, per_class=per_class, seed=SEED + seed)
        for seed in range(options.subsets)
    ]
    real = [mean(errors(*s.training_records(), max(options.networks // 2, 1))) for s in subsets]
    show(f"random real ({options.subsets} subsets)", real)


def show(name: str, values: list[float]) -> None:
    """One line: mean and standard deviation in percent."""
    spread = stdev(values) if len(values) > 1 else 0.0
    print(
        f"{name}: clean error {100 * mean(values):.1f} ± {100 * spread:.1f} % (sd, n={len(values)})"
    )


if __name__ == "__main__":
    main()
