"""What a private study releases: networks, statistics, ladders, and the two rounds of a release."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from moc.attacks import Attack, Threat
from moc.bank import Bank
from moc.data.augment import Augmentation
from moc.errors import StudyError
from moc.evidence.accountant import Gaussian, epsilon, noise_multiplier, sampled_noise_multiplier
from moc.evidence.dp_training import PrivateTraining, train_privately
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
    from moc.evidence.rungs import Rung
    from moc.networks import Network
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
        mean=1.0 - config.privacy.second - config.privacy.counts,
        second=config.privacy.second,
        counts=config.privacy.counts,
    )


def ladder_of(config: StudyConfig) -> Ladder:
    """The rungs of a private study, less what training and scoring take.

    All rounds of the release together, whose noise is such that any rung of them and the training
    cost what the rung says.
    """
    if config.privacy is None:
        raise StudyError("An open study has no ladder: its file has no [privacy] table.")
    p = config.privacy
    training, beside = training_of(config), ()
    if training is not None and config.data.train is not None:
        beside = (training.mechanism(config.data.train),)
    return Ladder(epsilons=p.epsilons, delta=p.delta, share=1.0 - p.scoring, beside=beside)


def training_of(config: StudyConfig) -> PrivateTraining | None:
    """How a private study trains its teachers on T; None if it does not.

    Its noise is such that the training by itself costs what a release with the share `training` of
    the smallest rung's 1/σ² would.
    """
    p, t = config.privacy, config.teacher
    if p is None or config.data.train is None or t.source != "dp-training":
        return None
    whole = noise_multiplier(p.epsilons[-1], delta=p.delta)
    share = Gaussian(noise_multiplier=whole / math.sqrt(p.training))
    noise = sampled_noise_multiplier(
        epsilon([share], delta=p.delta),
        delta=p.delta,
        sample_rate=t.batch / config.data.train,
        count=t.count * t.steps,
    )
    attack = Attack(name="pgd-ce", steps=config.objectives.attack_steps)
    return PrivateTraining(
        network=NetworkSpec.parse(t.network),
        noise_multiplier=noise,
        count=t.count,
        steps=t.steps,
        batch=t.batch,
        clip=t.clip,
        lr=t.dp_lr,
        attack=attack if t.adversarial else None,
        threat=threat_of(config),
        tier=p.tier,
        seed=config.seed,
    )


def draw_teachers(
    config: StudyConfig, ledger: Ledger, folder: Path, reporter: Reporter
) -> list[Network]:
    """Train, or read back, the teachers of a private study that are trained on T; none if none."""
    training = training_of(config)
    if training is None:
        return []
    with reporter.stage("DP training of teachers on the private records") as progress:
        return train_privately(
            ledger,
            training,
            folder=folder / "teacher",
            device=device_of(config),
            progress=progress,
        )


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
