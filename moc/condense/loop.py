"""Condensation: B synthetic sets at once, each under its own weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moc.condense.pool import Pool
from moc.condense.scalarise import Normalisation
from moc.condense.settings import CondenseSettings
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.discrepancies.base import Loss
from moc.evidence.base import Evidence
from moc.networks.bank import encode
from moc.networks.train import Progress

_LABEL_SHARPNESS = 6.0  # logit of the true class where labels are learned: 0.978 of 10 classes
_FINAL_VIEWS = 16  # networks over which the losses of a finished set are averaged


@dataclass(frozen=True, kw_only=True)
class Task:
    """One set to condense.

    Attributes:
        weights: Weight of every loss, on the simplex (m,).
        rung: Index of the rung of the release that the set may read.
        seed: Public seed of the images to start from.
        normalisation: (ideal, nadir) of the losses on this rung. None for anchors, which minimise
            one loss alone, as it is.
    """

    weights: tuple[float, ...]
    rung: int = 0
    seed: int = 0
    normalisation: Normalisation | None = None


@dataclass(frozen=True, kw_only=True)
class Condensed:
    """A finished set with the values of the losses (m,), in their order."""

    synthetic: SyntheticSet
    losses: tuple[float, ...]


def condense(
    tasks: Sequence[Task],
    *,
    evidence: Evidence,
    losses: Sequence[Loss],
    settings: CondenseSettings,
    progress: Progress | None = None,
) -> list[Condensed]:
    """Condense all tasks as one batch; each set comes out as it would alone, up to rounding.

    Args:
        tasks: What to condense; B of them share every network, batch and release.
        evidence: What T gave.
        losses: The m losses that are minimised.
        settings: Size, schedule, labels and scalariser.
        progress: Told after every step.

    Returns:
        One finished set for each task, in order.
    """
    batch = _Batch(tasks, evidence, losses, settings)
    for step in batch.minimise():
        if progress is not None:
            progress(step + 1, settings.steps)
    return batch.finish()


class _Batch:
    """The B sets while they are being condensed."""

    def __init__(
        self,
        tasks: Sequence[Task],
        evidence: Evidence,
        losses: Sequence[Loss],
        settings: CondenseSettings,
    ) -> None:
        self.evidence, self.objectives, self.settings = evidence, losses, settings
        self.decoder = settings.decoder.model_copy(update={"noise_copies": 1})
        self.rungs = [task.rung for task in tasks]
        classes = len(evidence.info.classes)
        y = balanced_labels(settings.images_per_class, classes)
        hard = one_hot(y, classes).to(evidence.device)
        self.hard = hard.repeat(len(tasks), 1, 1)
        start = torch.stack([self._start(task) for task in tasks])
        self.x = start.to(evidence.device, copy=True).requires_grad_(True)
        learned = settings.labels == "learned"
        self.logits = (_LABEL_SHARPNESS * self.hard).requires_grad_(learned)
        self.weights = torch.tensor([task.weights for task in tasks], device=evidence.device)
        self.frame = Normalisation.stack([task.normalisation for task in tasks])
        pool = settings.pool
        self.pools = [Pool(evidence.bank, pool, seed=task.seed) for task in tasks if pool]

    def _start(self, task: Task) -> Tensor:
        """Images (M, *shape) to start from."""
        y = balanced_labels(self.settings.records_per_class, len(self.evidence.info.classes))
        return self.decoder.pack(self.evidence.start(y, seed=task.seed, rung=task.rung))

    def labels(self) -> Tensor:
        return self.logits.softmax(-1) if self.logits.requires_grad else self.hard

    def minimise(self) -> Iterator[int]:
        """Take all steps, yielding after each."""
        each = self.settings.networks_per_step
        parameters = [p for p in (self.x, self.logits) if p.requires_grad]
        optimiser = torch.optim.Adam(parameters, lr=self.settings.lr)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.settings.steps)
        for step in range(self.settings.steps):
            views = range(step * each, (step + 1) * each)
            losses = self.losses(views)
            optimiser.zero_grad(set_to_none=True)
            self.join(losses).sum().backward()
            optimiser.step()
            cosine.step()
            with torch.no_grad():
                self.x.clamp_(0.0, 1.0)
            self._train_pools(views)
            yield step

    def losses(self, views: range) -> Tensor:
        """Every loss of every set, averaged over these views: (B, m)."""
        records, labels = self.records()
        parts = []
        for view in views:
            if self.pools:
                alone = [
                    self._under(view, slice(b, b + 1), records, labels, pool)
                    for b, pool in enumerate(self.pools)
                ]
                parts.append(torch.cat(alone))
            else:
                parts.append(self._under(view, slice(None), records, labels))
        return torch.stack(parts).mean(0)

    def records(self) -> tuple[Tensor, Tensor]:
        """Training records (B, M, *shape) and their labels (B, M, c)."""
        records = self.decoder(self.x).flatten(1, 2)
        return records, self.labels().repeat_interleave(self.decoder.count, dim=1)

    def _under(
        self, step: int, sets: slice, records: Tensor, labels: Tensor, pool: Pool | None = None
    ) -> Tensor:
        """Every loss of these sets under one network: (sets, m)."""
        member = pool.member(step) if pool else None
        view = self.evidence.view(step, self.rungs[sets], member=member)
        encoded = encode(records[sets], labels[sets], view.member)
        return torch.stack([loss(encoded, view) for loss in self.objectives], dim=1)

    def _train_pools(self, steps: range) -> None:
        if not self.pools:
            return
        with torch.no_grad():
            records, labels = self.records()
        for pool, x, y in zip(self.pools, records, labels, strict=True):
            for step in steps:
                pool.train(step, x, y)

    def join(self, losses: Tensor) -> Tensor:
        """One value for each set (B,)."""
        if losses.shape[1] == 1:
            return losses[:, 0]
        alone = (losses * self.weights).sum(1)
        if self.frame is None:
            return alone
        joined = self.settings.scalariser.join(self.frame.apply(losses), self.weights)
        return torch.where((self.weights > 1 - 1e-9).any(1), alone, joined)

    def finish(self) -> list[Condensed]:
        # One view at a time: each holds its graph, through all records and layers, until it goes.
        views = [self.losses(range(k, k + 1)).detach() for k in range(_FINAL_VIEWS)]
        losses = torch.stack(views).mean(0).tolist()
        labels, x = self.labels().detach().cpu(), self.x.detach().cpu()
        info, decoder = self.evidence.info, self.settings.decoder
        return [
            Condensed(
                synthetic=SyntheticSet(info=info, x=a.clone(), labels=b.clone(), decoder=decoder),
                losses=tuple(row),
            )
            for a, b, row in zip(x, labels, losses, strict=True)
        ]
