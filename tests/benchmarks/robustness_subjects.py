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
from controls import inverted, robust_reference, smoothed, static_adversarial

from moc.attacks.threat import Threat
from moc.data.storage import load_set
from moc.data.synthetic import SyntheticSet, one_hot
from moc.evaluate.baselines import select
from moc.evaluate.protocols import PROTOCOLS
from moc.evidence.proxy import Proxy
from moc.networks.network import build
from moc.networks.train import train
from moc.privacy.held_out import reference_records
from moc.privacy.ledger import Ledger
from moc.study.config import StudyConfig, parse_config
from moc.study.division import parts_of
from moc.study.settings import read_settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from moc.data.vault import RealData
    from moc.networks.network import Network

SEED = 900_000  # networks and subsets that no study has used


def read_config(folder: Path) -> StudyConfig:
    """The settings of a study."""
    return parse_config(read_settings(folder), where=str(folder))


def parts(options: argparse.Namespace) -> dict[str, RealData]:
    """All training and test records; the studies' split where the source has no test part."""
    data = options.data
    whole = {"train": data.load()}
    if data.has_test:
        return {**whole, "test": data.load("test")}
    splits = {(config.data, config.seed) for config in options.configs}
    if len(splits) > 1:
        raise SystemExit(f"{options.source} has no test records: one study expected.")
    if splits:
        return parts_of(options.configs[0])
    quarter = len(whole["train"]) // 4
    sizes = [len(whole["train"]) - quarter, quarter]
    return dict(zip(("train", "test"), whole["train"].split(sizes, seed=0), strict=True))


class Subjects:
    """Everything that networks are trained on.

    Attributes:
        info: Public facts about T.
        test: Test records and labels, in a public order.
        threats: The budgets, rising; the largest is also that of training and of the controls.
        training: How networks are trained.
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
        protocol = PROTOCOLS.make({"kind": options.protocol, **changes})
        self.training = protocol.resolve(self.info, self.threats[-1])
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
        own = self.training.network.name
        trained = f"{drawn}, {own} of {self.training.epochs} epochs on them"
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
        return train(self._real(number), self.training, seed=SEED + 500_000 + number)

    def _teach(self, number: int) -> Network:
        """The robust network: trained once and kept beside the cells."""
        o, own, seed = self._options, self.training.network, self.seed + number
        budget = o.budgets[-1].replace("/", "_")
        name = f"reference-{o.source}-{own.name}-{budget}-{o.reference_steps}-{seed}"
        path = o.out / f"{name}.pt"
        if not path.is_file():
            x, y = self._train
            network = robust_reference(
                Proxy(SyntheticSet(info=self.info, x=x, labels=one_hot(y, len(self.info.classes)))),
                self.training,
                threat=self.threats[-1],
                steps=o.reference_steps,
                seed=seed,
                progress=lambda done, total: done % 50 or say(f"{name}: step {done} of {total}"),
            )
            torch.save(network.state_dict(), path)
        network = build(own, self.info, seed=0)
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.requires_grad_(False)


def copied(make: Callable[[int], SyntheticSet], copies: int, number: int) -> SyntheticSet:
    """The same stored records, decoded into copies under public noise."""
    stored = make(number)
    decoder = stored.decoder.model_copy(update={"noise_copies": copies})
    return replace(stored, decoder=decoder)


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)
