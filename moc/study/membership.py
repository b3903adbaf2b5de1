"""Membership inference on what a study would make of halves of its records."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from moc.condense.loop import Task, condense
from moc.discrepancies import Generalization, make_discrepancy
from moc.evaluate import make_protocol, train
from moc.evidence.ledger import Ledger
from moc.evidence.membership import WARNING, infer
from moc.evidence.owner import Owner
from moc.study.evidence import condense_settings, evidence_of
from moc.study.releases import device_of, threat_of
from moc.study.reporter import Reporter, Silent
from moc.study.run import threads_of
from moc.study.setup import budget_of, sealed_records

if TYPE_CHECKING:
    from moc.data.real import RealData
    from moc.evidence.membership import MembershipReport
    from moc.networks import Network
    from moc.study.config import StudyConfig


def audit_membership(
    config: StudyConfig, *, runs: int = 16, reporter: Reporter | None = None
) -> MembershipReport:
    """Repeat the study on random halves of T, and infer who was in from the networks it trains.

    Each run draws a release of its own (or samples, in an open study), condenses the set of
    generalization alone on the largest epsilon, and trains the study's number of networks on it by
    the study's protocol. Nothing is kept on disk. See `moc.evidence.owner` for what is read.

    Args:
        config: The study.
        runs: How many, at least 4.
        reporter: Told of the runs and, before anything is read, that this is not private.
    """
    reporter = reporter or Silent()
    reporter.say(WARNING)
    owner = Owner(sealed_records(config), seed=config.seed)
    odds, charged, device = [], [], device_of(config)
    title = f"{runs} times: a release, a set, networks on it"
    with threads_of(config), reporter.stage(title) as progress:
        for run in range(runs):
            networks, epsilon = _repeat(config, owner.part(run))
            odds.append(owner.odds(networks, device=device))
            charged.append(epsilon)
            progress(run + 1, runs)
    return infer(
        torch.stack(odds),
        torch.stack([owner.members(run) for run in range(runs)]),
        claimed=max(charged),
        delta=config.privacy.delta if config.privacy else 1e-5,
    )


def _repeat(config: StudyConfig, part: RealData) -> tuple[list[Network], float]:
    """Networks trained on a set made from `part`, and what its ledger charges for it."""
    with tempfile.TemporaryDirectory() as place:
        ledger = Ledger(budget_of(config), path=Path(place) / "privacy.jsonl")
        ledger.own("train", part)
        evidence = evidence_of(config, ledger, Path(place), Silent())
    objectives = config.objectives
    discrepancy = make_discrepancy(objectives.generalization, ridge=objectives.ridge)
    (made,) = condense(
        [Task(robust_share=0.0, rung=0, seed=config.seed)],
        evidence=evidence,
        objectives=(Generalization(discrepancy),),
        settings=condense_settings(config),
    )
    protocol = make_protocol(config.evaluate.protocol, part.info, threat_of(config))
    device = device_of(config)
    seeds = range(config.evaluate.replicates)
    networks = [train(made.synthetic, protocol, seed=seed, device=device) for seed in seeds]
    return networks, ledger.epsilon()
