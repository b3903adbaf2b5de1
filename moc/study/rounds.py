"""The rounds of a release: each drawn in turn, the later ones under networks that learned.

What a later round's networks learn from is the smallest rung of the rounds before. Every reader may
see it, so the sums of that round are the same for all rungs, and a reader of a rung still sees
nothing that was made from a rung above. The networks are on the disk, and their digest in the
ledger's claim, before T is read under them: sums under other networks are another release.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from moc.condense.proxy import make_proxies
from moc.data.storage import checksum, save_weights
from moc.errors import StudyError
from moc.evidence.moments import Moments
from moc.networks.bank import Bank
from moc.networks.learned import LearnedBank, LearnedSettings, train_aged
from moc.networks.network import build, finite_weights
from moc.privacy.collect import Collection
from moc.privacy.release import Released, draw

if TYPE_CHECKING:
    from moc.study.context import StudyContext

_SHIFT = 10_000  # between the seeds of two rounds


def draw_rounds(context: StudyContext) -> Moments:
    """Draw, or read back, the sums over T of every round."""
    config, found = context.config, list[tuple[Collection, Sequence[Released]]]()
    for number, one in enumerate(config.rounds):
        collection = collection_of(context, number, found)
        place = f", round {number + 1} of {len(config.rounds)}" if len(config.rounds) > 1 else ""
        with context.reporter.stage(f"one pass over the records{place}") as progress:
            released = draw(
                context.ledger,
                collection,
                None if context.ladder is None else context.ladder.part(one.share),
                folder=context.folder / f"release-{number}",
                key=f"release/{number}",
                tier=config.privacy.tier if config.privacy else "standard",
                workers=context.summing(one.count),
                progress=progress,
            )
        found.append((collection, released))
    return Moments(found)


def collection_of(
    context: StudyContext,
    number: int,
    before: Sequence[tuple[Collection, Sequence[Released]]] = (),
) -> Collection:
    """What round `number` sums over T.

    Args:
        context: The study.
        number: Of the round.
        before: The rounds before, for networks to learn from. Without them such networks are as
            they are before they learn: of the same shapes, for whoever needs no more.
    """
    one = context.config.rounds[number]
    bank = context.bank(
        one.networks, augmentation=one.augmentation, width=one.width, shift=number * _SHIFT
    )
    if one.learned is not None and before:
        bank = _learned(context, bank, one.count, one.learned, before)
    return Collection(bank=bank, networks=one.count, statistics=one.statistics)


def _learned(
    context: StudyContext,
    bank: Bank,
    count: int,
    settings: LearnedSettings,
    before: Sequence[tuple[Collection, Sequence[Released]]],
) -> LearnedBank:
    """The bank whose networks learn from the smallest rung of the rounds before, or as stored."""
    smallest = context.rungs - 1
    how = f"{bank.describe()} {count} {settings.model_dump_json()}"
    name = f"{len(before)}-{context.made_from(smallest, how, rounds=len(before))}"
    path = context.folder / "learned" / f"{name}.safetensors"
    if not path.exists():
        _learn(context, bank, count, settings, Moments(before), path)
    try:
        tensors = load_file(path, device=context.device)
    except SafetensorError:
        raise StudyError(
            f"{path} is damaged. Bring it back from a copy: the sums of a later round belong to "
            "these networks and to no others."
        ) from None
    networks = []
    for k in range(count):
        network = build(
            bank.networks[k // len(settings.ages) % len(bank.networks)], bank.info, seed=0
        )
        network.load_state_dict(_of(tensors, f"{k}."))
        networks.append(network.to(context.device).requires_grad_(False))
    return LearnedBank(
        **vars(bank),
        weights=tuple(networks),
        centre=tensors["centre"],
        digest=checksum({name: value.cpu() for name, value in tensors.items()})[:16],
    )


def _learn(
    context: StudyContext,
    bank: Bank,
    count: int,
    settings: LearnedSettings,
    moments: Moments,
    path: Path,
) -> None:
    """Make a set of the smallest rung, train on it, and store both."""
    with context.reporter.stage("a set of the rounds before, for networks to learn from") as tell:
        (made,) = make_proxies(
            moments,
            images_per_class=settings.images_per_class,
            steps=settings.steps,
            lr=settings.lr,
            seed=context.seed,
            rungs=[context.rungs - 1],
            progress=tell,
        )
    x, labels = made.training_records()
    with context.reporter.stage("networks that learn from it") as tell:
        networks = train_aged(
            x.to(context.device),
            labels.to(context.device),
            bank.info,
            networks=bank.networks,
            count=count,
            settings=settings,
            seed=bank.seed,
            progress=tell,
        )
    if not all(map(finite_weights, networks)):
        raise StudyError(
            "A network of [[rounds]] learned diverged: its weights are infinite or no numbers "
            f"(NaN). Give `sgd` there a smaller lr than {settings.sgd.lr:g}."
        )
    tensors = {"centre": x}
    for k, network in enumerate(networks):
        tensors |= {f"{k}.{name}": value for name, value in network.state_dict().items()}
    save_weights(tensors, path)


def _of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
