"""What the robustness table is about: records, stored sets, controls, the robust network."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from moc.attacks import Threat
from moc.evidence.proxy import Proxy
from moc.data import SyntheticSet, load, one_hot
from moc.data.storage import load_set
from moc.errors import DataError
from moc.evaluate import make_protocol, select, train
from controls import inverted, robust_reference, smoothed, static_adversarial
from moc.evidence import Ledger, reference_records
from moc.networks import build
from moc.study.config import StudyConfig
from moc.study.setup import _parts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from moc.data.vault import RealData
    from moc.networks import Network

SEED = 900_000  # networks and subsets that no study has used


def read_config(folder: Path) -> StudyConfig:
    """The settings of a study."""
    return StudyConfig.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))


def parts(options: argparse.Namespace) -> dict[str, RealData]:
    """All training and test records; the studies' split where the source has no test part."""
    whole = {"train": load(options.source, path=options.path)}
    try:
        whole["test"] = load(options.source, path=options.path, part="test")
    except DataError:
        splits = {(config.data, config.seed) for config in options.configs}
        if len(splits) > 1:
            raise SystemExit(f"{options.source} has no test records: one study expected.") from None
        if splits:
            return _parts(options.configs[0])
        quarter = len(whole["train"]) // 4
        sizes = [len(whole["train"]) - quarter, quarter]
        whole = dict(zip(("train", "test"), whole["train"].split(sizes, seed=0), strict=True))
    return whole


class Subjects:
    """Everything that networks are trained on.

    Attributes:
        info: Public facts about T.
        test: Test records and labels, in a public order.
        threats: The budgets, rising; the largest is also that of training and of the controls.
        protocol: How networks are trained.
        seed: First of the seeds of this run.
        made: By name: what the set is made from, and the set for a network's number.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, ledger, data = options, Ledger(None), parts(options)
        ledger.own("train", data["train"])
        ledger.own("test", data["test"].split([len(data["test"])], seed=options.seed)[0])
        self.info = ledger.info("train")
        self._train, self.test = (reference_records(ledger, name) for name in ("train", "test"))
        self.threats = [Threat(eps=float(Fraction(text))) for text in options.budgets]
        changes = {} if options.epochs is None else {"epochs": options.epochs}
        self.protocol = make_protocol(options.protocol, self.info, self.threats[-1], **changes)
        self.seed = SEED + 1000 * options.seed
        self._real, self.reference = lru_cache(self._draw), lru_cache(self._teach)
        self.made = dict((*self._stored(), *self._controls()))
        self.made |= {
            f"{name}, {copies} copies": (f"{drawn}, {copies} copies", partial(copied, make, copies))
            for name, (drawn, make) in list(self.made.items())
            for copies in options.copies
        }

    def _stored(self) -> Iterator[tuple[str, tuple[str, Callable[[int], SyntheticSet]]]]:
        for folder, *trials in self._options.study:
            for trial in trials:
                path = Path(folder) / "sets" / f"{trial}.safetensors"
                stored = load_set(path)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
                yield f"{Path(folder).name} {trial}", (digest, lambda _, stored=stored: stored)

    def _controls(self) -> Iterator[tuple[str, tuple[str, Callable[[int], SyntheticSet]]]]:
        o, real, seed = self._options, self._real, self.seed
        drawn = f"{o.source}, {o.per_class} a class of {len(self._train[1])}"
        own = self.protocol.network.name
        trained = f"{drawn}, {own} of {self.protocol.epochs} epochs on them"
        taught = f"{drawn}, {own} of {o.reference_steps} steps on T"
        attacked = partial(static_adversarial, threat=self.threats[-1])
        yield "random real", (drawn, real)
        if o.no_controls:
            return
        makers = {
            "smoothed labels": (drawn, lambda k: smoothed(real(k))),
            "static adversarial, plain network": (
                trained,
                lambda k: attacked(real(k), self._plain(k), seed=seed + k),
            ),
            "static adversarial, robust network": (
                taught,
                lambda k: attacked(real(k), self.reference(0), seed=seed + k),
            ),
            "robust-feature inversion": (
                taught,
                lambda k: inverted(real(k), self.reference(0), seed=seed + k),
            ),
        }
        yield from makers.items()

    def _draw(self, number: int) -> SyntheticSet:
        per_class = self._options.per_class
        return select(
            "random", *self._train, self.info, per_class=per_class, seed=self.seed + number
        )

    def _plain(self, number: int) -> Network:
        """Trained on the real subset of that number; not one of the networks that are scored."""
        return train(self._real(number), self.protocol, seed=SEED + 500_000 + number)

    def _teach(self, number: int) -> Network:
        """The robust network: trained once and kept beside the cells."""
        o, spec, seed = self._options, self.protocol.network, self.seed + number
        budget = o.budgets[-1].replace("/", "_")
        name = f"reference-{o.source}-{spec.name}-{budget}-{o.reference_steps}-{seed}"
        path = o.out / f"{name}.pt"
        if not path.is_file():
            x, y = self._train
            network = robust_reference(
                Proxy(SyntheticSet(info=self.info, x=x, labels=one_hot(y, len(self.info.classes)))),
                self.protocol,
                steps=o.reference_steps,
                seed=seed,
                progress=lambda done, total: done % 50 or say(f"{name}: step {done} of {total}"),
            )
            torch.save(network.state_dict(), path)
        network = build(spec, self.info, seed=0)
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.requires_grad_(False)


def copied(make: Callable[[int], SyntheticSet], copies: int, number: int) -> SyntheticSet:
    """The same stored records, decoded into copies under public noise."""
    stored = make(number)
    return replace(stored, decoder=replace(stored.decoder, copies=copies))


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)
