"""What a private study releases: networks, statistics, ladders, and the two rounds of a release."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from moc.attacks import Attack, Threat
from moc.bank import Bank
from moc.data.augment import Augmentation
from moc.errors import StudyError
from moc.evidence.heads import HeadsAttack
from moc.evidence.moments import Moments
from moc.evidence.release import Ladder, draw
from moc.evidence.statistics import Statistics
from moc.networks import NetworkSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moc.data.real import DataInfo
    from moc.evidence.ledger import Ledger
    from moc.evidence.release import Rung
    from moc.study.config import StudyConfig
    from moc.study.reporter import Reporter


def device_of(config: StudyConfig) -> str:
    """The device to condense on: `auto` takes a GPU where there is one."""
    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def threat_of(config: StudyConfig) -> Threat:
    """What robustness is measured against."""
    return Threat(norm=config.threat.norm, eps=config.threat.eps)


def attack_of(config: StudyConfig) -> Attack:
    """The attack of the adversarial objective."""
    return Attack(name="pgd-margin", steps=config.objectives.attack_steps)


def bank_of(config: StudyConfig, info: DataInfo) -> Bank:
    """The public networks."""
    return Bank(
        info=info,
        specs=tuple(NetworkSpec.parse(name) for name in config.bank.networks),
        seed=config.seed,
        augmentation=Augmentation.dsa(info.mirrored) if config.bank.augmentation else None,
        width=config.privacy.width if config.privacy else None,
        device=device_of(config),
    )


def statistics_of(config: StudyConfig, info: DataInfo) -> Statistics:
    """What each round of a private study sums; all of it fixed before T is read."""
    if config.privacy is None:
        raise StudyError("An open study releases nothing: its file has no [privacy] table.")
    return Statistics(
        bank=bank_of(config, info),
        networks=config.privacy.networks,
        mean=1.0 - config.privacy.second,
        second=config.privacy.second,
    )


def ladder_of(config: StudyConfig) -> Ladder:
    """The rungs of a private study, less what scoring takes: all rounds of the release together."""
    if config.privacy is None:
        raise StudyError("An open study has no ladder: its file has no [privacy] table.")
    p = config.privacy
    return Ladder(epsilons=p.epsilons, delta=p.delta, share=1.0 - p.scoring)


def rounds_of(config: StudyConfig) -> dict[str, Ladder]:
    """The ladder of each round by its key in the ledger; their shares sum to that of `ladder_of`.

    `release/clean` is there always, `release/attacked` where the adversarial objective reads it.
    """
    whole = ladder_of(config)
    if config.privacy is None or config.objectives.adversarial != "release":
        return {"release/clean": whole}
    attacked = config.privacy.attacked or 0.5
    return {
        "release/clean": replace(whole, share=whole.share * (1.0 - attacked)),
        "release/attacked": replace(whole, share=whole.share * attacked),
    }


def attack_under_heads(
    config: StudyConfig, statistics: Statistics, clean: Sequence[Rung]
) -> HeadsAttack:
    """The attack of round two, under heads from what round one released."""
    return HeadsAttack(
        statistics,
        clean,
        rounds_of(config)["release/attacked"],
        attack=attack_of(config),
        threat=threat_of(config),
    )


def draw_moments(config: StudyConfig, ledger: Ledger, folder: Path, reporter: Reporter) -> Moments:
    """Draw, or read back, every round of a private study's release."""
    assert config.privacy is not None
    statistics = statistics_of(config, ledger.info("train"))
    rounds, tier = rounds_of(config), config.privacy.tier
    with reporter.stage("one pass over the private records") as progress:
        clean = draw(
            ledger,
            statistics,
            rounds["release/clean"],
            folder=folder / "release",
            tier=tier,
            progress=progress,
        )
    if "release/attacked" not in rounds:
        return Moments(statistics, clean)
    with reporter.stage("one more pass, over the private records under attack") as progress:
        attacked = draw(
            ledger,
            statistics,
            rounds["release/attacked"],
            folder=folder / "release-attacked",
            key="release/attacked",
            tier=tier,
            attack=attack_under_heads(config, statistics, clean),
            progress=progress,
        )
    return Moments(statistics, clean, attacked)
