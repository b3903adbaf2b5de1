"""Private proxies: larger synthetic sets made from a release, to be read in place of T."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from moc.condense.loop import CondenseSettings, Progress, Task, condense
from moc.data.synthetic import AS_STORED, balanced_index
from moc.discrepancies import FeatureMean, Generalization
from moc.errors import PrivacyError
from moc.evidence.batches import AttackedBatch, Batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from moc.bank import Members
    from moc.data.synthetic import SyntheticSet
    from moc.evidence.moments import Moments


class Proxy:
    """Batches of a synthetic set; reading them is post-processing of the release behind it.

    Attributes:
        synthetic: The set.
    """

    def __init__(self, synthetic: SyntheticSet, device: str = "cpu") -> None:
        """Hand out records of `synthetic`."""
        self.synthetic, self.info, self.device = synthetic, synthetic.info, device
        x, labels = synthetic.training_records()
        self.x, self.labels = x.to(device), labels.to(device)

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """See `BatchSource`."""
        generator = torch.Generator().manual_seed(step)
        index = torch.randint(len(self.x), (size,), generator=generator)
        return self.x[index], self.labels[index]


class Proxies(Batches):
    """The proxies of a release in the place of T: one for each rung, read by its sets alone.

    Records that may be looked at through any network and attacked, so every discrepancy, the
    attack of the adversarial objective and pools work on them as on samples of T. All of it is
    post-processing of the release.

    Attributes:
        proxies: By rung; their labels agree, place by place.
    """

    def __init__(
        self,
        proxies: Sequence[Proxy],
        *,
        epsilons: tuple[float, ...],
        bank: Members,
        attacked: AttackedBatch,
        batch: int = 256,
        seed: int = 0,
    ) -> None:
        """Read `proxies`, whose rungs cost `epsilons`; see `Batches`.

        Raises:
            PrivacyError: If there is not one proxy for each rung, or their labels differ, so that a
                set would read something of another rung.
        """
        if len(proxies) != max(len(epsilons), 1):
            raise PrivacyError(
                f"A proxy for each of {len(epsilons)} rungs expected, found {len(proxies)}."
            )
        if not all(torch.equal(proxy.labels, proxies[0].labels) for proxy in proxies):
            raise PrivacyError("Proxies with the same labels, place by place, expected.")
        super().__init__(bank=bank, attacked=attacked, batch=batch, seed=seed)
        self.epsilons, self.proxies = epsilons, tuple(proxies)

    def start(self, y: Tensor, *, seed: int, rung: int) -> Tensor:
        """See `Evidence`; records of the rung's own proxy."""
        own = self.proxies[rung]
        index = balanced_index(own.labels.argmax(1).cpu(), y, self.info.classes, seed=seed)
        return own.x[index.to(own.x.device)].cpu()

    def shown(self, step: int, size: int, rungs: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `Batches`; the same places of each set's own proxy."""
        batches = {rung: self.proxies[rung].batch(step, size) for rung in set(rungs)}
        return torch.stack([batches[rung][0] for rung in rungs]), batches[rungs[0]][1]


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
        settings=replace(settings, per_class=per_class, labels="hard", decoder=AS_STORED, warm=0),
        progress=progress,
    )
    return [Proxy(one.synthetic, moments.device) for one in condensed]
