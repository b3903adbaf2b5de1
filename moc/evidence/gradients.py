"""Sums of per-record gradients, each clipped by itself: what one step of DP-SGD adds noise to.

Opacus' hooks give the gradient of every record. What follows differs from its `DPOptimizer` on
purpose: each clipped gradient is rounded towards zero on the grid of a release, so that the sum is
exact in int64, the same for any order, and moves by at most C with one record; a gradient that is
not finite contributes nothing; and noise comes from `moc.evidence.noise`, since a generator of
torch on the CPU keeps 32 bits of its seed, which can be tried out.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from moc.data._vault import Records
from moc.data.real import as_unit
from moc.errors import PrivacyError
from moc.evidence.isolation import probes, require_additive
from moc.evidence.statistics import GRID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from moc.attacks import Attack, Threat
    from moc.data.real import DataInfo
    from moc.networks import Network

_ROWS = 128  # records at a time; every batch is padded to this, so that all meet the same kernels
_MARGIN = 1e-6  # covers float32 rounding between a gradient's norm and that of its grid steps


class ClippedGradients:
    """Gradients of the cross-entropy of one network, on records or on records under attack.

    Use it as a context: it hooks into the network, and leaves it as it was.

    Attributes:
        size: Number of parameters P.
    """

    def __init__(
        self,
        network: Network,
        *,
        clip: float,
        attack: Attack | None = None,
        threat: Threat | None = None,
    ) -> None:
        """Prepare to take gradients of `network`.

        Args:
            network: Trained by the caller; its parameters may change between calls.
            clip: C, the most that one record contributes, in L2 norm over all parameters.
            attack: Applied to every record by itself, against the network as it is.
            threat: The budget of the attack.

        Raises:
            PrivacyError: If the attack does not treat each record by itself.
        """
        if attack is not None and (threat is None or not attack.per_record):
            raise PrivacyError(
                "An attack on private records must treat each by itself, within a threat: fgsm, "
                f"mifgsm, or pgd without random start expected; found {attack.label}."
            )
        self._network, self._clip = network, clip
        self._attack, self._threat = attack, threat
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self.size = sum(p.numel() for p in self._parameters)

    def __enter__(self) -> ClippedGradients:
        """Hook into the network."""
        from opacus.grad_sample.grad_sample_module import GradSampleHooks

        faults = GradSampleHooks.validate(self._network, strict=False)
        if faults:
            raise PrivacyError(
                f"A network without layers that keep statistics of records expected: {faults[0]}"
            )
        self._hooks = GradSampleHooks(self._network, loss_reduction="sum")
        self._network.train()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the network without hooks and gradients, in evaluation mode."""
        self._forget()
        self._hooks.cleanup()
        self._network.eval()

    def require_isolated(self, info: DataInfo) -> None:
        """Refuse a network or an attack in which one record touches what another one adds.

        Raises:
            PrivacyError: If public records, in other company and places, add something else.
        """
        require_additive(self.sums, probes(info, _ROWS))

    def sums(self, records: Records) -> Tensor:
        """Sum of the clipped gradients (P,) int64, in grid steps of C / 2²⁰, with no noise yet.

        Args:
            records: Any number of them, none too.
        """
        total = torch.zeros(self.size, dtype=torch.int64)
        device = self._parameters[0].device
        for x, y in zip(records.x.split(_ROWS), records.y.split(_ROWS), strict=True):
            if len(y) == 0:
                break
            padding = _ROWS - len(y)
            whole = torch.cat([as_unit(x), torch.zeros(padding, *x.shape[1:])]).to(device)
            labels = torch.cat([y, y.new_zeros(padding)]).to(device)
            total += self._clipped(self._gradients(whole, labels, len(y))).cpu()
        return total

    def descend(self, gradient: Tensor) -> None:
        """Give `gradient` (P,) to the parameters, for an optimiser to step along."""
        parts = gradient.split([p.numel() for p in self._parameters])
        for p, part in zip(self._parameters, parts, strict=True):
            p.grad = part.reshape(p.shape).to(p)

    def _gradients(self, x: Tensor, y: Tensor, real: int) -> list[Tensor]:
        """Gradients of the first `real` records, by parameter: (real, numel) each."""
        if self._attack is not None and self._threat is not None:
            classes = self._network.head.out_features
            self._hooks.disable_hooks()
            x = self._attack(self._network, x, y, threat=self._threat, classes=classes, seed=0)
            self._hooks.enable_hooks()
        with _without_hook_warning():
            F.cross_entropy(self._network(x), y, reduction="sum").backward()
        # Set by opacus' hooks.
        found = [p.grad_sample[:real].flatten(1) for p in self._parameters]  # pyright: ignore[reportAttributeAccessIssue]
        self._forget()
        return found

    def _clipped(self, gradients: list[Tensor]) -> Tensor:
        """Clip every record's gradient over all parameters, put it on the grid, and sum (P,)."""
        norms = [torch.linalg.vector_norm(g, dim=1, dtype=torch.float64) for g in gradients]
        norm = torch.stack(norms).norm(dim=0)
        whole = norm.isfinite()
        scale = GRID * (1 - _MARGIN) / norm[whole].clamp(min=self._clip)
        steps = [(g[whole] * scale.float()[:, None]).trunc().to(torch.int32) for g in gradients]
        return torch.cat([s.sum(0) for s in steps])

    def _forget(self) -> None:
        for p in self._parameters:
            p.grad = None
            p.grad_sample = None  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def _without_hook_warning() -> Iterator[None]:
    """Records need no gradient here, which torch remarks on in every backward pass with hooks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        yield
