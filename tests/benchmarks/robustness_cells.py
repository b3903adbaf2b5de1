"""Cells of the robustness table: measured once, kept in a JSON lines file, shown as Markdown."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING

import torch

from moc.evaluate.robust import Robustness, correct
from moc.evaluate.suites import FastSuite, FullSuite, StandardSuite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from torch import Tensor

    from moc.attacks.threat import Threat
    from moc.networks.network import Network

SUITES = {"fast": FastSuite(), "standard": StandardSuite(), "full": FullSuite()}
TIERS = ("clean", *SUITES, "official")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Everything that decides a number of the table.

    Attributes:
        subject: Name of the set, or of the reference.
        recipe: What the subject was made from.
        protocol: How the network was trained, in words.
        architecture: Its architecture.
        training: `plain` or `adversarial`.
        tier: One of `TIERS`.
        budgets: Of the attacks, as written by the user; the largest is also that of training.
        records: How many test records, the first ones of a public permutation.
        seed: Public seed of everything.
        number: Which of the networks.
    """

    subject: str
    recipe: str
    protocol: str
    architecture: str
    training: str
    tier: str
    budgets: tuple[str, ...]
    records: int
    seed: int
    number: int


class Store:
    """Measured cells in a file that a killed run leaves whole but for its last line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, list[float]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        lines = path.read_text(encoding="utf-8").split("\n")
        if lines[-1]:  # cut short: end it, so that the next cell has a line of its own
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")
        for line in lines:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            self._values[_key(row["cell"])] = row["right"]

    def find(self, cell: Cell) -> list[float] | None:
        """Shares of right records, one for each budget; None if they were never measured."""
        return self._values.get(_key(asdict(cell)))

    def add(self, cell: Cell, right: list[float], seconds: float) -> None:
        """Append a line."""
        row = {"cell": asdict(cell), "right": right, "seconds": round(seconds, 1)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._values[_key(asdict(cell))] = right


def _key(cell: dict[str, object]) -> str:
    return json.dumps(cell, sort_keys=True)


def measure(
    network: Network, x: Tensor, y: Tensor, *, tier: str, threats: Sequence[Threat], seed: int
) -> tuple[list[float], float]:
    """Shares of right records, clean or within each of the rising threats, and the seconds."""
    start, classes = time.perf_counter(), network.head.out_features
    if tier == "clean":
        right = [correct(network, x, y)]
    elif tier == "official":
        right = [_official(network, x, y, threat, seed) for threat in threats]
    else:
        attacked = Robustness(
            model=network, suite=SUITES[tier], threat=threats[-1], classes=classes, seed=seed
        )
        right = list(attacked.curve(x, y, threats))
    return [float(r.float().mean()) for r in right], time.perf_counter() - start


def _official(network: Network, x: Tensor, y: Tensor, threat: Threat, seed: int) -> Tensor:
    """The authors' own AutoAttack, standard version; it seeds the process, so fork around it."""
    from pyautoattack import AutoAttack

    with torch.random.fork_rng():
        attack = AutoAttack(
            network, norm=threat.norm, eps=threat.eps, seed=seed, device=str(x.device)
        )
        found, *_ = attack.run_standard_evaluation(x, y, batch_size=250)
    return correct(network, found, y)


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[list[float]]]]) -> str:
    """Markdown: a name and, for each column, mean ± standard deviation of shares, in percent."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join((name, *map(spread, cells))) + " |" for name, cells in rows]
    return "\n".join(lines)


def spread(shares: Sequence[float]) -> str:
    """Mean ± standard deviation in percent; a dash for nothing, no deviation for one value."""
    if not shares:
        return "-"
    deviation = f" ± {100 * stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * mean(shares):.1f}{deviation}"


def columns(store: Store, cells: Iterable[Cell]) -> dict[tuple[str, ...], list[float]]:
    """Shares over networks by (subject, architecture, training, tier, budget or nothing)."""
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for cell in cells:
        shares = store.find(cell)
        budgets = ("",) if cell.tier == "clean" else cell.budgets
        for budget, share in zip(budgets, shares or (), strict=shares is not None):
            key = (cell.subject, cell.architecture, cell.training, cell.tier, budget)
            found[key].append(share)
    return found
