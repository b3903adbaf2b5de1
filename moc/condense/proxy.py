"""Proxies of a release: larger synthetic sets, one for each rung, by feature-mean matching."""

from __future__ import annotations

from collections.abc import Sequence

from moc.condense.loop import Task, condense
from moc.condense.settings import CondenseSettings
from moc.data.synthetic import SyntheticSet
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.evidence.base import Evidence
from moc.networks.train import Progress


def make_proxies(
    moments: Evidence,
    *,
    images_per_class: int,
    steps: int,
    lr: float,
    seed: int,
    rungs: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[SyntheticSet]:
    """One set for each rung of a release, from what a reader of that rung may see.

    Args:
        moments: The release.
        images_per_class: Records a class; more than S has, fewer than T.
        steps: Optimiser steps.
        lr: Learning rate.
        seed: Public seed of the noise that the records start from.
        rungs: For these alone; for all if left out.
        progress: Told after every step.
    """
    rungs = range(max(len(moments.rungs), 1)) if rungs is None else rungs
    settings = CondenseSettings(
        images_per_class=images_per_class, steps=steps, lr=lr, labels="hard"
    )
    condensed = condense(
        [Task(weights=(1.0,), rung=rung, seed=seed) for rung in rungs],
        evidence=moments,
        losses=(Generalization(FeatureMean()),),
        settings=settings,
        progress=progress,
    )
    return [one.synthetic for one in condensed]
