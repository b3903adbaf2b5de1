"""Private proxies: larger synthetic sets made from a release, to be read in place of T."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from moc.data.synthetic import SyntheticSet, balanced_index
from moc.errors import PrivacyError
from moc.evidence.records import RecordEvidence
from moc.networks.bank import Bank
from moc.privacy.ladder import Rung


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
        """Records (size, *shape) with label distributions, drawn with public seed `step`."""
        generator = torch.Generator().manual_seed(step)
        index = torch.randint(len(self.x), (size,), generator=generator)
        index = index.to(self.x.device, non_blocking=True)
        return self.x[index], self.labels[index]


class Proxies(RecordEvidence):
    """The proxies of a release in the place of T: one for each rung, read by its sets alone.

    Records that may be seen under any network and attacked, so every discrepancy, every
    adversarial loss and pools work on them as on samples of T. All of it is post-processing of the
    release.

    Attributes:
        proxies: By rung; their labels agree, place by place.
    """

    def __init__(
        self,
        proxies: Sequence[Proxy],
        *,
        rungs: tuple[Rung, ...],
        bank: Bank,
        batch: int = 256,
        seed: int = 0,
    ) -> None:
        """Read `proxies`, one a rung.

        Raises:
            PrivacyError: If there is not one proxy for each rung, or their labels differ, so that a
                set would read something of another rung.
        """
        if len(proxies) != max(len(rungs), 1):
            raise PrivacyError(
                f"A proxy for each of {len(rungs)} rungs expected, found {len(proxies)}."
            )
        if not all(torch.equal(proxy.labels, proxies[0].labels) for proxy in proxies):
            raise PrivacyError("Proxies with the same labels, place by place, expected.")
        super().__init__(bank=bank, batch=batch, seed=seed)
        self.rungs, self.proxies = rungs, tuple(proxies)

    @override
    def start(self, y: Tensor, *, seed: int, rung: int) -> Tensor:
        own = self.proxies[rung]
        index = balanced_index(own.labels.argmax(1).cpu(), y, self.info.classes, seed=seed)
        return own.x[index.to(own.x.device)].cpu()

    @override
    def shown(self, step: int, size: int, rungs: Sequence[int]) -> tuple[Tensor, Tensor]:
        batches = {rung: self.proxies[rung].batch(step, size) for rung in set(rungs)}
        return torch.stack([batches[rung][0] for rung in rungs]), batches[rungs[0]][1]

    @override
    def source(self, rung: int) -> Proxy:
        return self.proxies[rung]
