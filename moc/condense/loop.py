"""Condensation: B synthetic sets at once, each under its own weighting."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

import torch

from moc.condense.pool import Pool
from moc.condense.scalarise import Normalisation, Scalariser, SmoothTchebycheff
from moc.data.synthetic import AS_STORED, Decoder, SyntheticSet, balanced_labels, one_hot
from moc.discrepancies import FeatureMean, Generalization, Objective, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from moc.evidence.base import Evidence

_LABEL_SHARPNESS = 6.0  # logit of the true class where labels are learned: 0.978 of 10 classes
_FINAL_VIEWS = 16  # networks over which the losses of a finished set are averaged


@dataclass(frozen=True, kw_only=True)
class CondenseSettings:
    """How a set is condensed.

    Attributes:
        per_class: Stored images a class.
        steps: Optimiser steps.
        warm: Steps of feature-mean matching before them; sets that share a rung and a seed share
            this start. Worth it where the evidence gives only noise to start from.
        networks: Networks of the bank in each step.
        lr: Adam's learning rate in pixel units, with cosine decay to zero.
        labels: `hard`, or `learned` together with the images (as many more floats as classes).
        decoder: Training images in each stored one, and their copies. The set is condensed
            without the copies, which cost time in every step and gained nothing there.
        pool: Networks that are trained on each set while it is condensed, and looked through
            instead of the bank's random ones; 0 for none. Needs samples of T or a proxy. See
            `Pool`.
        pool_age: Steps after which a network of the pool is replaced.
        pool_inner: Steps that it takes each time, of at most 128 training records.
        scalariser: Joins the losses.
    """

    per_class: int = 10
    steps: int = 300
    warm: int = 0
    networks: int = 1
    lr: float = 0.05
    labels: Literal["hard", "learned"] = "hard"
    decoder: Decoder = AS_STORED
    pool: int = 0
    pool_age: int = 100
    pool_inner: int = 1
    scalariser: Scalariser = field(default_factory=SmoothTchebycheff)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One set to condense.

    Attributes:
        robust_share: Weight r of the adversarial loss against 1 - r of generalization.
        rung: Index of the rung of the release that the set may read.
        seed: Public seed of the images to start from.
    """

    robust_share: float
    rung: int = 0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Condensed:
    """A finished set with the values of the objectives, in their order."""

    synthetic: SyntheticSet
    losses: tuple[float, ...]


class Progress(Protocol):
    """Told how far a long piece of work has come."""

    def __call__(self, done: int, total: int, /) -> None:
        """Say that `done` of `total` steps are done."""


def condense(
    tasks: Sequence[Task],
    *,
    evidence: Evidence,
    objectives: Sequence[Objective],
    settings: CondenseSettings,
    normalisation: Normalisation | None = None,
    progress: Progress | None = None,
) -> list[Condensed]:
    """Condense all tasks as one batch; each set comes out as it would alone, up to rounding.

    Args:
        tasks: What to condense; B of them share every network, batch and release.
        evidence: What T gave.
        objectives: Generalization, then optionally adversarial, then optionally the privacy
            budget. The first two are joined; the third has no gradient and is only reported.
        settings: Size, schedule, labels and scalariser.
        normalisation: The study's fixed (ideal, nadir) by rung. None for anchors, whose robust
            share is 0 or 1 and which minimise that one loss as it is.
        progress: Told after every step.

    Returns:
        One finished set for each task, in order.
    """
    total = settings.warm + settings.steps
    start = _warm_start(tasks, evidence, settings, progress)
    batch = _Batch(tasks, evidence, settings, start)
    for step in batch.minimise(objectives, settings, normalisation):
        if progress is not None:
            progress(settings.warm + step + 1, total)
    return batch.finish(objectives)


def _warm_start(
    tasks: Sequence[Task],
    evidence: Evidence,
    settings: CondenseSettings,
    progress: Progress | None,
) -> Tensor:
    """Images (B, M, *shape) to start from: one warm run for each distinct (rung, seed)."""
    keys = list(dict.fromkeys((task.rung, task.seed) for task in tasks))
    decoder = settings.decoder
    y = balanced_labels(settings.per_class * decoder.tiles, len(evidence.info.classes))
    start = torch.stack(
        [decoder.pack(evidence.start(y, seed=seed, rung=rung)) for rung, seed in keys]
    )
    if settings.warm:
        distinct = [Task(robust_share=0.0, rung=rung, seed=seed) for rung, seed in keys]
        warm = replace(settings, steps=settings.warm, labels="hard", pool=0)
        batch = _Batch(distinct, evidence, warm, start)
        for step in batch.minimise((Generalization(FeatureMean()),), warm, None):
            if progress is not None:
                progress(step + 1, settings.warm + settings.steps)
        start = batch.x.detach().cpu()
    return start[[keys.index((task.rung, task.seed)) for task in tasks]]


class _Batch:
    """The B sets while they are being condensed."""

    def __init__(
        self, tasks: Sequence[Task], evidence: Evidence, settings: CondenseSettings, start: Tensor
    ) -> None:
        self.evidence = evidence
        self.decoder = settings.decoder
        self.seen_as = replace(self.decoder, copies=1)
        self.rungs = [task.rung for task in tasks]
        classes = len(evidence.info.classes)
        hard = one_hot(balanced_labels(settings.per_class, classes), classes).to(evidence.device)
        self.hard = hard.repeat(len(tasks), 1, 1)
        self.x = start.to(evidence.device, copy=True).requires_grad_(True)
        self.logits = (_LABEL_SHARPNESS * self.hard).requires_grad_(settings.labels == "learned")
        share = torch.tensor([task.robust_share for task in tasks], device=evidence.device)
        self.weights = torch.stack([1 - share, share], dim=1)
        self.pools = [
            Pool(
                evidence.bank,
                size=settings.pool,
                age=settings.pool_age,
                inner=settings.pool_inner,
                seed=task.seed,
            )
            for task in tasks
            if settings.pool
        ]

    def labels(self) -> Tensor:
        return self.logits.softmax(-1) if self.logits.requires_grad else self.hard

    def minimise(
        self,
        objectives: Sequence[Objective],
        settings: CondenseSettings,
        normalisation: Normalisation | None,
    ) -> Iterator[int]:
        """Take the steps of `settings`, yielding after each."""
        parameters = [p for p in (self.x, self.logits) if p.requires_grad]
        optimiser = torch.optim.Adam(parameters, lr=settings.lr)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
        for step in range(settings.steps):
            steps = range(step * settings.networks, (step + 1) * settings.networks)
            losses = self.losses(objectives, steps)
            optimiser.zero_grad(set_to_none=True)
            self.join(losses, settings.scalariser, normalisation).sum().backward()
            optimiser.step()
            cosine.step()
            with torch.no_grad():
                self.x.clamp_(0.0, 1.0)
            self._train_pools(steps)
            yield step

    def losses(self, objectives: Sequence[Objective], steps: range) -> Tensor:
        """Every objective of every set, averaged over the networks of these steps: (B, m)."""
        records, labels = self.records()
        parts = []
        for step in steps:
            if self.pools:
                alone = [
                    self._look(objectives, step, slice(b, b + 1), records, labels, pool)
                    for b, pool in enumerate(self.pools)
                ]
                parts.append(torch.cat(alone))
            else:
                parts.append(self._look(objectives, step, slice(None), records, labels))
        return torch.stack(parts).mean(0)

    def records(self) -> tuple[Tensor, Tensor]:
        """Training records (B, M, *shape) and their labels (B, M, c)."""
        records = self.seen_as(self.x).flatten(1, 2)
        return records, self.labels().repeat_interleave(self.seen_as.count, dim=1)

    def _look(
        self,
        objectives: Sequence[Objective],
        step: int,
        sets: slice,
        records: Tensor,
        labels: Tensor,
        pool: Pool | None = None,
    ) -> Tensor:
        """Every objective of these sets under one network: (sets, m)."""
        member = pool.member(step) if pool else None
        view = self.evidence.view(step, self.rungs[sets], member=member)
        encoded = encode(records[sets], labels[sets], view.member)
        return torch.stack([loss(encoded, view) for loss in objectives], dim=1)

    def _train_pools(self, steps: range) -> None:
        if not self.pools:
            return
        with torch.no_grad():
            records, labels = self.records()
        for pool, x, y in zip(self.pools, records, labels, strict=True):
            for step in steps:
                pool.train(step, x, y)

    def join(
        self, losses: Tensor, scalariser: Scalariser, normalisation: Normalisation | None
    ) -> Tensor:
        """One value for each set (B,)."""
        if losses.shape[1] == 1:
            return losses[:, 0]
        losses = losses[:, :2]
        alone = (losses * self.weights).sum(1)
        if normalisation is None:
            return alone
        joined = scalariser(normalisation.apply(losses, self.rungs), self.weights)
        return torch.where((self.weights > 1 - 1e-9).any(1), alone, joined)

    def finish(self, objectives: Sequence[Objective]) -> list[Condensed]:
        # One view at a time: each holds its graph, through all records and layers, until it goes.
        views = [self.losses(objectives, range(k, k + 1)).detach() for k in range(_FINAL_VIEWS)]
        losses = torch.stack(views).mean(0).tolist()
        labels, x = self.labels().detach().cpu(), self.x.detach().cpu()
        info = self.evidence.info
        sets = [
            SyntheticSet(info=info, x=a.clone(), labels=b.clone(), decoder=self.decoder)
            for a, b in zip(x, labels, strict=True)
        ]
        return [
            Condensed(synthetic=one, losses=tuple(row))
            for one, row in zip(sets, losses, strict=True)
        ]
