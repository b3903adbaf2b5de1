"""How robust plain training gets on real images that a robust teacher has labelled.

    python tests/benchmarks/plain_training_limit.py --per-class 10 50

Nothing is condensed here: real training records of Fashion-MNIST, more and more of them, are given
the labels of an adversarially trained network, alone or with perturbed copies, and networks are
trained on them plainly by the fast protocol's schedule. What remains between them and the teacher
is the limit of the route (images and labels of a teacher), not of the condensation. Rows:

- hard: the records with their own labels;
- teacher: with the teacher's predictions;
- teacher, noisy copies: and three copies under noise of +-eps in every pixel, labelled alike;
- teacher on attacked copies: and one copy attacked against a network trained plainly on the row
  above it, labelled by what the teacher says of the copy.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

import torch
from sources import source

from moc.attacks.gradient import PgdCe
from moc.attacks.threat import Threat
from moc.data.synthetic import SyntheticSet, one_hot
from moc.data.vault import as_unit
from moc.evaluate.baselines import select
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import Robustness, correct
from moc.evaluate.suites import FastSuite
from moc.evidence.proxy import Proxy
from moc.memory import keep_freed_memory
from moc.networks.architectures import parse_network
from moc.networks.teachers import TeacherSettings, train_teachers
from moc.networks.train import fit
from moc.privacy.held_out import reference_records
from moc.privacy.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn


EPOCHS = {10: 100, 50: 60}  # fewer passes over more records; 30 beyond
SEED = 920_000


def sets(
    x: Tensor,
    hard: Tensor,
    teacher: nn.Module,
    threat: Threat,
    *,
    trained: Callable[[Tensor, Tensor], nn.Module],
    seed: int,
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(row, records, labels) for the records x (n, *shape) with labels (n, c)."""
    soft = teacher(x).softmax(1)
    yield "hard", x, hard
    yield "teacher", x, soft
    generator = torch.Generator().manual_seed(seed)
    signs = [torch.randint(2, x.shape, generator=generator) * 2.0 - 1.0 for _ in range(3)]
    noisy = [(x + threat.eps * sign).clamp(0.0, 1.0) for sign in signs]
    yield "teacher, noisy copies", torch.cat([x, *noisy]), soft.repeat(4, 1)
    attacked = PgdCe(steps=10)(
        trained(x, soft), x, soft.argmax(1), threat=threat, classes=soft.shape[1], seed=seed
    )
    labels = torch.cat([soft, teacher(attacked).softmax(1)])
    yield "teacher on attacked copies", torch.cat([x, attacked]), labels


def main() -> None:
    """Print a table: clean and robust accuracy over the seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--path", type=Path)
    parser.add_argument("--per-class", nargs="+", type=int, default=[10, 50])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--steps", type=int, default=500, help="of the teacher")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    ledger, threat = Ledger(None), Threat(eps=0.1)
    for part in ("train", "test"):
        ledger.own(part, source("fashion_mnist", options.path).load(part))
    info = ledger.info("train")
    x, y = reference_records(ledger, "train")
    xt, yt = reference_records(ledger, "test")
    settings, network = TeacherSettings(steps=options.steps, lr=0.05), parse_network("convnet3-w32")
    records = SyntheticSet(info=info, x=as_unit(x), labels=one_hot(y, len(info.classes)))
    (teacher,) = train_teachers(
        Proxy(records), network=network, settings=settings, threat=threat, seed=0
    )
    fast = Fast().resolve(info, threat)

    def measure(network: nn.Module) -> tuple[float, float]:
        clean = 100.0 * float(correct(network, xt, yt).float().mean())
        x, y, classes = as_unit(xt[: options.records]), yt[: options.records], len(info.classes)
        attacked = Robustness(
            model=network, suite=FastSuite(), threat=threat, classes=classes, seed=0
        )
        right = attacked.correct(x, y)
        return clean, 100.0 * float(right.float().mean())

    print("| records | set | clean % | robust % |\n|---:|---|---:|---:|")
    show("", "the teacher", [measure(teacher)])
    for per_class in options.per_class:
        found: dict[str, list[tuple[float, float]]] = {}
        training = fast.model_copy(update={"epochs": EPOCHS.get(per_class, 30)})
        for seed in range(SEED, SEED + options.seeds):
            chosen = select("random", x, y, info, per_class=per_class, seed=seed)
            records, hard = chosen.training_records()

            trained = partial(fit, info=info, training=training, seed=seed)
            rows = sets(records, hard, teacher, threat, trained=trained, seed=seed)
            for name, a, b in rows:
                found.setdefault(name, []).append(measure(trained(a, b)))
        for name, values in found.items():
            show(str(10 * per_class), name, values)


def show(records: str, name: str, values: list[tuple[float, float]]) -> None:
    """Print a row: mean and standard deviation of each column."""
    cells = [
        f"{mean(column):.1f}" + (f" ± {stdev(column):.1f}" if len(column) > 1 else "")
        for column in zip(*values, strict=True)
    ]
    print(f"| {records} | {name} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
