"""Private proxies: larger synthetic sets made from a release, to be read in place of T."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from moc.condense.loop import CondenseSettings, Progress, Task, condense
from moc.discrepancies import FeatureMean, Generalization

if TYPE_CHECKING:
    from torch import Tensor

    from moc.data.synthetic import SyntheticSet
    from moc.evidence.moments import Moments


class Proxy:
    """Batches of a synthetic set; reading them is post-processing of the release behind it."""

    def __init__(self, synthetic: SyntheticSet, device: str = "cpu") -> None:
        """Hand out records of `synthetic`."""
        self.info, self.device = synthetic.info, device
        x, labels = synthetic.training_records()
        self._x, self._labels = x.to(device), labels.to(device)

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """See `BatchSource`."""
        generator = torch.Generator().manual_seed(step)
        index = torch.randint(len(self._x), (size,), generator=generator)
        return self._x[index], self._labels[index]


def make_proxies(
    moments: Moments,
    *,
    per_class: int,
    settings: CondenseSettings,
    seed: int,
    progress: Progress | None = None,
) -> list[Proxy]:
    """One proxy for each rung of a release, from what a reader of that rung may see.

    Args:
        moments: The release.
        per_class: Records a class; more than S has, fewer than T.
        settings: Schedule, as for S.
        seed: Public seed of the noise that the records start from.
        progress: Told after every step.
    """
    rungs = max(len(moments.epsilons), 1)
    condensed = condense(
        [Task(robust_share=0.0, rung=rung, seed=seed) for rung in range(rungs)],
        evidence=moments,
        objectives=(Generalization(FeatureMean()),),
        settings=replace(settings, per_class=per_class, labels="hard", factor=1, warm=0),
        progress=progress,
    )
    return [Proxy(one.synthetic, moments.device) for one in condensed]
