"""Clean and robust accuracy of stored sets, beside real records, controls and a robust network.

    python tests/benchmarks/robustness.py --out runs/robustness \
        --study runs/fashion-mnist trial-005 trial-003 --networks 3 --records 1000

prints Markdown: sets x {clean, every budget x every tier}. It chooses nothing. Test records are
the source's own or, where it has none, those that the study kept apart. `--architectures` adds
transfer, `--adversarial-training` the recipe that attacks while it trains on S, and `--tiers clean
fast full official` the authors' AutoAttack (`pip install pyautoattack`). Every finished cell is a
line of `OUT/cells.jsonl`: killed and started again, the run goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from robustness_cells import SUITES, TIERS, Cell, Store, columns, measure, table
from robustness_subjects import Subjects, read_config, say
from sources import source

from moc.evaluate.protocols import PROTOCOLS, describe
from moc.evaluate.protocols.base import ADVERSARIAL
from moc.memory import keep_freed_memory
from moc.networks.architectures import parse_network
from moc.networks.train import train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moc.networks.network import Network
    from moc.networks.train import Training

REFERENCE = "network trained adversarially on T"


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then print what there is."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    bench = Bench(options)
    for tiers in (bench.cheap(options.tiers), [t for t in options.tiers if not bench.cheap([t])]):
        for group in bench.groups(tiers):
            bench.run(group)
    command = f"    python tests/benchmarks/robustness.py {shlex.join(arguments)}"
    print(command, bench.words(), *bench.tables(), sep="\n\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options, with those that a study decides filled in from its configuration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of cells.jsonl and of the references")
    add("--study", nargs="+", action="append", default=[], metavar=("FOLDER", "TRIAL"))
    add("--source", default="fashion_mnist", help="where there is no study")
    add("--path", type=Path, help="of the source")
    add("--per-class", type=int, help="real images a class; those of the study, or 10")
    add("--protocol", choices=PROTOCOLS.parts, default="fast")
    add("--budgets", nargs="+", default=["8/255", "0.1"], help="rising, Linf")
    add("--epochs", type=int, help="instead of those of the protocol")
    add("--tiers", nargs="+", choices=TIERS, default=["clean", "fast", "full"])
    add("--networks", type=int, default=3)
    add("--networks-full", type=int, help="of the tiers after fast; as many if left out")
    add("--references", type=int, default=1, help="robust networks trained on T")
    add("--reference-steps", type=int, default=400)
    add("--records", type=int, default=1000, help="of the fast tier; clean takes all")
    add("--records-full", type=int, default=200, help="of the other tiers")
    add("--architectures", nargs="*", default=[], help="to transfer to, clean and fast")
    add("--adversarial-training", action="store_true", help="on S as well, clean and fast")
    add("--copies", nargs="*", type=int, default=[], help="every set also with so many (Decoder)")
    add("--no-controls", action="store_true")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    options.configs = [read_config(Path(folder)) for folder, *_ in options.study]
    options.data = source(options.source, options.path)
    if options.configs:
        options.data = options.configs[0].data.source
        options.source = options.data.kind
        if any(config.data.source != options.data for config in options.configs):
            parser.error("studies of one source expected")
    if options.networks_full is None:
        options.networks_full = options.networks
    if options.per_class is None:
        options.per_class = options.configs[0].condense.images_per_class if options.configs else 10
    return options


class Bench:
    """The cells of one table, what they are measured on, and where they are kept."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.subjects = options, Subjects(options)
        self.store = Store(options.out / "cells.jsonl")
        self.own = self.subjects.training.network.name

    @staticmethod
    def cheap(tiers: list[str]) -> list[str]:
        """Those that every network gets, whatever it is for."""
        return [tier for tier in tiers if tier in ("clean", "fast")]

    def groups(self, tiers: list[str]) -> Iterator[list[Cell]]:
        """Cells that share a network; all of one number before the next."""
        o = self.options
        references = 0 if o.no_controls else o.references
        for number in range(max(o.networks, references)):
            if number < o.networks:
                yield from self._of_sets(tiers, number)
            if number < references:
                count = self.subjects.info.count
                words = f"{o.reference_steps} steps on {count} records of {o.source}"
                key = {"subject": REFERENCE, "recipe": "T", "protocol": words}
                yield self._cells(tiers, number, **key, architecture=self.own, training="on T")

    def _of_sets(self, tiers: list[str], number: int) -> Iterator[list[Cell]]:
        o, cheap = self.options, self.cheap(tiers)
        ways = [(self.own, "plain", tiers if number < o.networks_full else cheap)]
        ways += [(name, "plain", cheap) for name in o.architectures]
        ways += [(self.own, "adversarial", cheap)] * o.adversarial_training
        for architecture, training, wanted in ways:
            words = _words(self._training(architecture, training))
            for name, (recipe, _) in self.subjects.made.items():
                key = {"subject": name, "recipe": recipe, "protocol": words}
                yield self._cells(
                    wanted, number, **key, architecture=architecture, training=training
                )

    def _cells(self, tiers: list[str], number: int, **key: str) -> list[Cell]:
        """Cells of one network, of which `key` gives the other fields."""
        o, everything = self.options, len(self.subjects.test[1])
        records = {"clean": everything, "fast": o.records}
        return [
            Cell(
                **key,
                tier=tier,
                budgets=tuple(o.budgets),
                records=min(records.get(tier, o.records_full), everything),
                seed=o.seed,
                number=number,
            )
            for tier in tiers
        ]

    def _training(self, architecture: str, training: str) -> Training:
        attack = ADVERSARIAL if training == "adversarial" else None
        changes = {"network": parse_network(architecture), "attack": attack}
        return self.subjects.training.model_copy(
            update={**changes, "threat": self.subjects.threats[-1]}
        )

    def run(self, group: list[Cell]) -> None:
        """Train the network of these cells and measure what is missing."""
        missing = [cell for cell in group if self.store.find(cell) is None]
        network = self._network(missing[0]) if missing else None
        for cell in missing:
            x, y = (part[: cell.records] for part in self.subjects.test)
            threats, seed = self.subjects.threats, self.subjects.seed + cell.number
            right, seconds = measure(network, x, y, tier=cell.tier, threats=threats, seed=seed)
            self.store.add(cell, right, seconds)
            shares = ", ".join(f"{share:.1%}" for share in right)
            place = f"{cell.subject}, {cell.architecture}, {cell.training}, network {cell.number}"
            say(f"{place}, {cell.tier}: {shares} ({seconds:.0f} s)")

    def _network(self, cell: Cell) -> Network:
        if cell.subject == REFERENCE:
            return self.subjects.reference(cell.number)
        synthetic = self.subjects.made[cell.subject][1](cell.number)
        training = self._training(cell.architecture, cell.training)
        return train(synthetic, training, seed=self.subjects.seed + cell.number)

    def words(self) -> str:
        """What was measured, and how."""
        o, everything = self.options, len(self.subjects.test[1])
        fast, full = min(o.records, everything), min(o.records_full, everything)
        tiers = [
            f"{name} ({', '.join(attack.label for attack in SUITES[name].attacks)}; "
            f"{fast if name == 'fast' else full} records)"
            for name in o.tiers
            if name in SUITES
        ]
        tiers += [f"official (pyautoattack, standard; {full} records)"] * ("official" in o.tiers)
        notes = (
            f"{o.source}, {o.per_class} images a class, seed {o.seed}. Accuracy in %, higher is "
            f"better, on test records: clean on all {everything}, attacks on the first of them.",
            f"Mean ± standard deviation over {o.networks} networks a set ({o.networks_full} after "
            f"the fast tier, {o.references} on T). Records add a standard error of up to "
            f"{50 / fast**0.5:.1f} points (fast) and {50 / full**0.5:.1f} (other tiers).",
            "Each network of random real and of the controls has a real subset of its own.",
            f"Training: {_words(self.subjects.training)}",
            f"Trained adversarially on T: {self.own}, {o.reference_steps} steps within Linf "
            f"{o.budgets[-1]}. Static images of its row are made against it, inverted ones through "
            "it.",
            f"Attacks within Linf {' and '.join(o.budgets)}: {'; '.join(tiers)}.",
            f"torch {torch.__version__}, {o.threads} thread(s).",
        )
        return "\n".join(f"- {note}" for note in notes)

    def tables(self) -> Iterator[str]:
        """Attacks, then transfer, then adversarial training."""
        o, own, names = self.options, self.own, list(self.subjects.made)
        cells = [cell for group in self.groups(o.tiers) for cell in group]
        found = columns(self.store, cells)
        attacks = [(t, budget) for budget in o.budgets for t in o.tiers if t != "clean"]
        keys = [("clean", ""), *attacks]
        rows = [(n, [found[n, own, "plain", *key] for key in keys]) for n in names]
        if not o.no_controls:
            rows.append((REFERENCE, [found[REFERENCE, own, "on T", *key] for key in keys]))
        yield table(["set", *(f"{b} {t}".strip() for t, b in keys)], rows)
        short = [("clean", "", "clean"), ("fast", o.budgets[-1], f"{o.budgets[-1]} fast")]
        more = {"transfer to": [(a, "plain") for a in o.architectures]}
        more["adversarial training on S"] = [(own, "adversarial")] * o.adversarial_training
        for title, ways in more.items():
            head = [f"{a} {label}" for a, _ in ways for *_, label in short]
            rows = [(n, [found[n, *w, t, b] for w in ways for t, b, _ in short]) for n in names]
            if ways:
                yield table([title, *head], rows)


def _words(training: Training) -> str:
    return describe(training, SUITES["fast"], training.threat).partition(" Robust error")[0]


if __name__ == "__main__":
    main()
