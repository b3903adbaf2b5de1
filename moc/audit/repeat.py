"""Membership inference on what a study would make of halves of its records."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from moc.audit.finding import Finding
from moc.audit.membership import WARNING, infer
from moc.audit.subject import MembershipSubject
from moc.condense.loop import Task, condense
from moc.data.vault import RealData
from moc.networks.network import Network
from moc.networks.train import train
from moc.privacy.ledger import Ledger
from moc.study.config import StudyConfig
from moc.study.context import StudyContext, budget_of, device_of, threads_of
from moc.study.division import parts_of
from moc.study.reporter import Reporter, Silent


def audit_membership(
    config: StudyConfig, *, runs: int = 16, reporter: Reporter | None = None
) -> Finding:
    """Repeat the study on random halves of T, and infer membership from the networks it trains.

    Each run draws a release of its own (or samples, in an open study), condenses the set of the
    first loss alone on the largest epsilon, and trains the study's number of networks on it by
    the study's protocol. Nothing is kept on disk. See `moc.audit.subject` for what is read.

    Args:
        config: The study.
        runs: How many, at least 4.
        reporter: Told of the runs and, before anything is read, that this is not private.
    """
    reporter = reporter or Silent()
    reporter.say(WARNING)
    subject = MembershipSubject(parts_of(config)["train"], seed=config.seed)
    odds, charged, device = [], [], device_of(config)
    title = f"{runs} times: a release, a set, networks on it"
    with threads_of(config), reporter.stage(title) as progress:
        for run in range(runs):
            networks, epsilon = _repeat(config, subject.part(run))
            odds.append(subject.odds(networks, device=device))
            charged.append(epsilon)
            progress(run + 1, runs)
    return infer(
        torch.stack(odds),
        torch.stack([subject.members(run) for run in range(runs)]),
        claimed=max(charged),
        delta=config.privacy.delta if config.privacy else 1e-5,
    )


def _repeat(config: StudyConfig, part: RealData) -> tuple[list[Network], float]:
    """Networks trained on a set made from `part`, and what its ledger charges for it."""
    with tempfile.TemporaryDirectory() as place:
        ledger = Ledger(budget_of(config), path=Path(place) / "privacy.jsonl")
        ledger.own("train", part)
        context = StudyContext(config, ledger, folder=Path(place), reporter=Silent())
        first = config.weighed[0]
        loss = config.objectives[first].loss(context.loss_context(context.config))
        assert loss is not None
        (made,) = condense(
            [Task(weights=(1.0,), rung=0, seed=config.seed)],
            evidence=context.evidence,
            losses=(loss.to(context.device),),
            settings=config.condense,
        )
    networks = [
        train(made.synthetic, context.training, seed=seed, device=context.device)
        for seed in range(config.evaluate.replicates)
    ]
    return networks, ledger.epsilon()
