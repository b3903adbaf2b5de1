"""The model as an attack sees it: which loss it climbs, and that it is left as it was."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from moc.attacks.threat import AttackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor


class Victim(nn.Module):
    """What torchattacks sees: the model behind a head, and where it lives.

    The model is held by its call, not as a submodule, so that nobody switches its mode; the empty
    parameter tells torchattacks the device, which models without parameters could not.
    """

    def __init__(
        self, model: nn.Module, x: Tensor, head: Callable[[Tensor], Tensor], classes: int
    ) -> None:
        super().__init__()
        self.device_mark = nn.Parameter(x.new_empty(0), requires_grad=False)
        self.predict, self.head = model.__call__, head
        self.shape, self.classes = x.shape[1:], classes

    def forward(self, images: Tensor) -> Tensor:
        """Logits that the attack works on, (n, classes), or (n, 2) where it climbs a gap."""
        if images.shape[1:] != self.shape:
            images = images.flatten(1)[:, : self.shape.numel()].unflatten(1, self.shape)
        logits = self.predict(images)
        if logits.shape != (len(images), self.classes):
            raise AttackError(
                f"Logits of shape {(len(images), self.classes)} expected from the model, "
                f"found {tuple(logits.shape)}."
            )
        if images.requires_grad and torch.is_grad_enabled() and not logits.requires_grad:
            raise AttackError(
                "A model with a gradient to its input expected; this one has none. "
                "Attack it with 'square', and do not call the result robust."
            )
        return self.head(logits)


def soft_gap(logits: Tensor, y: Tensor) -> Tensor:
    """Log-sum-exp of the wrong logits minus the right one, (n,)."""
    return _wrong(logits, y).logsumexp(1) - logits.gather(1, y[:, None]).squeeze(1)


def hard_gap(logits: Tensor, y: Tensor) -> Tensor:
    """The largest wrong logit minus the right one, (n,)."""
    return _wrong(logits, y).amax(1) - logits.gather(1, y[:, None]).squeeze(1)


def _wrong(logits: Tensor, y: Tensor) -> Tensor:
    return logits.scatter(1, y[:, None], -math.inf)


def climb(gap: Tensor) -> Tensor:
    """Two logits (n, 2) whose cross-entropy at label 0 pushes each `gap` (n,) up at speed 1.

    The speed is exactly 1 whatever the gap and the number of records, so that a record's gradient
    neither vanishes nor depends on how many others share the call's mean loss.
    """
    if gap.requires_grad:
        gap.register_hook(torch.sign)
    return torch.stack((gap.detach() - gap, torch.zeros_like(gap)), dim=1)


def at_least_four(logits: Tensor) -> Tensor:
    """Append classes that are never predicted: the targeted DLR loss ranks four logits."""
    missing = 4 - logits.shape[1]
    if missing <= 0:
        return logits
    floor = logits.detach().amin(1, keepdim=True) - 1
    return torch.cat((logits, floor.expand(-1, missing)), dim=1)


def as_images(x: Tensor) -> Tensor:
    """Lay vectors out as square one-channel images, padded with pixels no model sees."""
    if x.dim() == 4:
        return x.contiguous()
    flat = x.flatten(1)
    side = max(5, math.ceil(math.sqrt(flat.shape[1])))
    padded = flat.new_zeros(len(x), side * side)
    padded[:, : flat.shape[1]] = flat
    return padded.reshape(-1, 1, side, side)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and constant parameters inside; everything as it was after."""
    training = [module for module in model.modules() if module.training]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for module in training:
            module.training = False
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in trained:
            parameter.requires_grad_(True)
