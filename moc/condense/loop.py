"""Condensation: synthetic sets, or whole curves of them, many at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moc.condense.points import Alone, OnCurve, Points
from moc.condense.pool import Pools
from moc.condense.scalarise import Normalisation
from moc.condense.settings import CondenseSettings
from moc.data.curve import Curve
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.discrepancies.base import Loss
from moc.errors import NotFiniteError
from moc.evidence.base import Evidence
from moc.networks.bank import Member, encode
from moc.networks.network import computing_in
from moc.networks.train import Progress

_LABEL_SHARPNESS = 6.0  # logit of the true class where labels are learned: 0.978 of 10 classes
_FINAL_VIEWS = 16  # networks over which the losses of a finished set are averaged


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a set or a curve starts from.

    Attributes:
        rung: Index of the rung of the release that it may read.
        seed: Public seed of the images to start from.
    """

    rung: int = 0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Task(Start):
    """One set to condense.

    Attributes:
        weights: Weight of every loss, on the simplex (m,).
        normalisation: (ideal, nadir) of the losses on this rung. None for anchors, which minimise
            one loss alone, as it is.
    """

    weights: tuple[float, ...]
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
    points = Alone(
        weights=torch.tensor([task.weights for task in tasks], device=evidence.device),
        frame=Normalisation.stack([task.normalisation for task in tasks]),
        scalariser=settings.scalariser,
    )
    batch = _Batch(tasks, points, evidence, losses, settings)
    batch.minimise(progress)
    return batch.sets()


def condense_curves(
    starts: Sequence[Start],
    *,
    evidence: Evidence,
    losses: Mapping[str, Loss],
    settings: CondenseSettings,
    progress: Progress | None = None,
) -> list[Curve]:
    """Condense a whole front for each start; each curve comes out as it would alone.

    In every step each curve is looked at in its corners, where one loss counts alone, and at drawn
    points between them, under one network, batch and attack.

    Args:
        starts: One for each curve, such as the rungs of a release.
        evidence: What T gave.
        losses: The m losses by name, two or more, that the front trades off.
        settings: Size, schedule, labels and scalariser; `curve` above all.
        progress: Told after every step.
    """
    points = OnCurve(
        losses=len(losses),
        settings=settings.curve,
        scalariser=settings.scalariser,
        device=evidence.device,
    )
    batch = _Batch(starts, points, evidence, tuple(losses.values()), settings)
    batch.minimise(progress)
    return batch.curves(tuple(losses))


def losses_of(
    sets: Sequence[SyntheticSet], *, rung: int, evidence: Evidence, losses: Sequence[Loss]
) -> list[tuple[float, ...]]:
    """Every loss of finished sets of one size, as averages over public random networks.

    Args:
        sets: Such as points of a curve; they are looked at together.
        rung: The rung that they read.
        evidence: What T gave.
        losses: The m losses.
    """
    decoder = sets[0].decoder.model_copy(update={"noise_copies": 1})
    x = torch.stack([one.x for one in sets]).to(evidence.device)
    labels = torch.stack([one.labels for one in sets]).to(evidence.device)
    records, labels = decoder(x).flatten(1, 2), labels.repeat_interleave(decoder.count, dim=1)
    rows = []
    for step in range(_FINAL_VIEWS):
        view = evidence.view(step, [rung] * len(sets))
        with torch.no_grad():
            encoded = encode(records, labels, view.member)
        rows.append(torch.stack([loss(encoded, view).detach() for loss in losses], dim=1))
    return [tuple(row) for row in torch.stack(rows).mean(0).tolist()]


class _Batch:
    """B sets or curves while they are being condensed; of each, n points are looked at in a step.

    Controls are the P sets that a curve is made of; a set by itself is one with P = n = 1.
    """

    def __init__(
        self,
        starts: Sequence[Start],
        points: Points,
        evidence: Evidence,
        losses: Sequence[Loss],
        settings: CondenseSettings,
    ) -> None:
        self.points, self.evidence, self.objectives = points, evidence, losses
        self.settings = settings
        self.decoder = settings.decoder.model_copy(update={"noise_copies": 1})
        self.rungs = [start.rung for start in starts]
        classes, controls = len(evidence.info.classes), points.controls
        y = balanced_labels(settings.images_per_class, classes)
        self.hard = one_hot(y, classes).to(evidence.device).repeat(len(starts), 1, 1, 1)
        x = torch.stack([self._start(start) for start in starts]).to(evidence.device)
        self.x = x.unsqueeze(1).repeat_interleave(controls, dim=1)
        self.x.requires_grad_(settings.images == "learned")
        learned = settings.labels == "learned"
        logits = (_LABEL_SHARPNESS * self.hard).repeat(1, controls, 1, 1)
        self.logits = logits.requires_grad_(learned)
        seeds = [start.seed for start in starts]
        self.pools = (
            Pools(evidence.bank, settings.pool, seeds=seeds, groups=points.groups)
            if settings.pool
            else None
        )

    def _start(self, start: Start) -> Tensor:
        """Images (M, *shape) to start from."""
        y = balanced_labels(self.settings.records_per_class, len(self.evidence.info.classes))
        return self.decoder.pack(self.evidence.start(y, seed=start.seed, rung=start.rung))

    def minimise(self, progress: Progress | None) -> None:
        """Take all steps."""
        with computing_in(self.settings.compute):
            for step in self._steps():
                if progress is not None:
                    progress(step + 1, self.settings.steps)
        if not bool(self.x.isfinite().all() and self.logits.isfinite().all()):
            raise NotFiniteError(
                f"the synthetic records are no longer finite after {self.settings.steps} steps at "
                f"[condense] lr = {self.settings.lr:g}"
            )

    def _steps(self) -> Iterator[int]:
        each = self.settings.networks_per_step
        parameters = [p for p in (self.x, self.logits) if p.requires_grad]
        optimiser = torch.optim.Adam(parameters, lr=self.settings.lr)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.settings.steps)
        for step in range(self.settings.steps):
            views = range(step * each, (step + 1) * each)
            self.points.draw(step)
            losses = self.losses(views)
            optimiser.zero_grad(set_to_none=True)
            self.points.join(losses).sum().backward()
            before = [p.detach().clone() for p in parameters]
            optimiser.step()
            cosine.step()
            with torch.no_grad():
                for now, then in zip(parameters, before, strict=True):
                    self.points.carry(now, then)
                self.x.clamp_(0.0, 1.0)
            if self.pools is not None:
                self.pools.train(views, *self.records())
            yield step

    def losses(self, views: range) -> Tensor:
        """Every loss of every point, averaged over these views: (B, n, m)."""
        records, labels = self.records()
        parts = []
        for view in views:
            if self.pools is None:
                parts.append(self._under(view, self.rungs, records, labels))
            else:
                parts.append(self._under_pools(view, self.pools, records, labels))
        return torch.stack(parts).mean(0)

    def _under_pools(self, view: int, pools: Pools, records: Tensor, labels: Tensor) -> Tensor:
        """Every loss of every point under the network that its pool has for this view."""
        found = []
        rows = zip(self.rungs, records, labels, pools.members(view), strict=True)
        for rung, x, y, members in rows:
            parts = [
                self._under(view, [rung], x[None, group], y[None, group], member)
                for group, member in members
            ]
            found.append(torch.cat(parts, dim=1))
        return torch.cat(found)

    def records(self) -> tuple[Tensor, Tensor]:
        """Training records (B, n, M, *shape) of the points, and their labels (B, n, M, c)."""
        records = self.decoder(self.points.mix(self.x).flatten(0, 1)).flatten(1, 2)
        if self.logits.requires_grad:
            labels = self.points.mix(self.logits).softmax(-1)
        else:
            labels = self.hard.expand(-1, len(records) // len(self.x), -1, -1)
        labels = labels.repeat_interleave(self.decoder.count, dim=2)
        return records.unflatten(0, (len(self.x), -1)), labels

    def _under(
        self,
        step: int,
        rungs: Sequence[int],
        records: Tensor,
        labels: Tensor,
        member: Member | None = None,
    ) -> Tensor:
        """Every loss of points (b, n, ...) of sets on b rungs under one network: (b, n, m)."""
        each = [rung for rung in rungs for _ in range(records.shape[1])]
        view = self.evidence.view(step, each, member=member)
        encoded = encode(records.flatten(0, 1), labels.flatten(0, 1), view.member)
        found = torch.stack([loss(encoded, view) for loss in self.objectives], dim=1)
        return found.unflatten(0, (-1, records.shape[1]))

    def sets(self) -> list[Condensed]:
        """The B finished sets."""
        # One view at a time: each holds its graph, through all records and layers, until it goes.
        views = [self.losses(range(k, k + 1)).detach() for k in range(_FINAL_VIEWS)]
        losses = torch.stack(views).mean(0)[:, 0].tolist()
        labels = self.logits.softmax(-1) if self.logits.requires_grad else self.hard
        labels, x = labels[:, 0].detach().cpu(), self.x[:, 0].detach().cpu()
        info, decoder = self.evidence.info, self.settings.decoder
        return [
            Condensed(
                synthetic=SyntheticSet(info=info, x=a.clone(), labels=b.clone(), decoder=decoder),
                losses=tuple(row),
            )
            for a, b, row in zip(x, labels, losses, strict=True)
        ]

    def curves(self, losses: tuple[str, ...]) -> list[Curve]:
        """The B finished curves."""
        labels = self.logits if self.logits.requires_grad else self.hard
        return [
            Curve(
                info=self.evidence.info,
                losses=losses,
                degree=self.settings.curve.degree,
                x=x.detach().cpu().clone(),
                labels=y.detach().cpu().clone(),
                decoder=self.settings.decoder,
            )
            for x, y in zip(self.x, labels, strict=True)
        ]
