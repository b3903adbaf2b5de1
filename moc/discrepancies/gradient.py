"""Distance between the gradients that S and T give to a network's weights."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from moc.discrepancies.base import Discrepancy
from moc.discrepancies.distances import DISTANCES, Cosine, Distance
from moc.evidence.base import View
from moc.networks.bank import Encoded, Member
from moc.networks.network import Network


class GradientMatching(Discrepancy):
    """Gradient matching: DC (arXiv 2006.05929); DSA (2102.08259) where the bank augments.

    For class k, a layer with weights θ (units u, inputs) and the cross-entropy ℓ of the member's
    own network, head included: the mean of 1 - cos(∇_θ[u] ℓ(S_k), ∇_θ[u] ℓ(T_k)) over k and all u
    of all layers, in [0, 2]. Weights with one dimension (biases, norms) are skipped, as in DC, and
    so are units to which T gives no gradient at all. A soft label counts for each class by its
    share.

    Its adversarial version attacks the member's own network, not a classifier fitted on S: the
    records of T give the gradient of the adversarial loss.

    We differ from DC in taking the mean over units instead of the sum, and in the networks: those
    of the bank, where DC trains its own on S. All sets and classes share
    one backward pass: no layer mixes records, so a gradient of a class is a sum over its records.

    Attributes:
        distance: Between the gradients of a unit; IDC (arXiv 2205.14959) has `absolute` for
            MNIST-like images, `squared` for others.
    """

    kind: Literal["gradient-matching"] = "gradient-matching"
    distance: Annotated[Distance, DISTANCES] = Cosine()

    @override
    def value(self, encoded: Encoded, view: View, /) -> Tensor:
        x, labels = view.batch()
        real = class_gradients(encoded.member, x, labels.expand(len(x), *labels.shape[-2:]))
        fake = class_gradients(encoded.member, encoded.records, encoded.labels)
        gaps = [self.distance.between(a, b) for a, b in zip(fake, real, strict=True)]
        return torch.cat(gaps, dim=2).mean((1, 2))


def class_gradients(member: Member, records: Tensor, labels: Tensor) -> list[Tensor]:
    """Mean gradient of the cross-entropy by class, for the weights of every layer.

    Args:
        member: The network, with its augmentation draw.
        records: B sets of records (B, n, *shape) in [0, 1].
        labels: Label distributions (B, n, c).

    Returns:
        For each layer (B, c, units, inputs): sums over the records weighted by their share of the
        class, over n. Differentiable in records and labels if the records require gradients.
    """
    x = member.drawn(records.flatten(0, 1))
    single = record_gradients(member.network, x, labels.flatten(0, 1))
    by_class = labels.transpose(1, 2) / labels.shape[1]
    return [
        (by_class @ one.flatten(1).unflatten(0, labels.shape[:2])).unflatten(2, one.shape[1:])
        for one in single
    ]


def record_gradients(network: Network, x: Tensor, labels: Tensor) -> list[Tensor]:
    """Gradient of each record's cross-entropy for the weights of every layer.

    The outer products of what enters a layer and what comes back to it (Goodfellow,
    arXiv 1510.01799), for convolutions over all positions.

    Args:
        network: Convolutions and linear layers, whose parameters need no gradient; every record
            goes through it by itself.
        x: Records (n, *shape) in [0, 1].
        labels: Label distributions (n, c).

    Returns:
        For each layer (n, units, inputs), in the order of the forward pass.
    """
    taps: list[tuple[nn.Module, Tensor, Tensor]] = []

    def tap(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if not output.requires_grad:
            output.requires_grad_()
        taps.append((layer, inputs[0].to(x.dtype), output))

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(tap) for layer in layers]
    track = x.requires_grad
    try:
        with torch.enable_grad():
            loss = -(labels * network(x).log_softmax(1)).sum()
    finally:
        for handle in handles:
            handle.remove()
    back = torch.autograd.grad(loss, [output for _, _, output in taps], create_graph=track)
    single = [_outer(layer, a, d.to(x.dtype)) for (layer, a, _), d in zip(taps, back, strict=True)]
    return single if track else [one.detach() for one in single]


def _outer(layer: nn.Module, entered: Tensor, back: Tensor) -> Tensor:
    """(n, units, inputs) from what entered a layer and the gradient of what left it."""
    if isinstance(layer, nn.Linear):
        return back.unsqueeze(2) * entered.unsqueeze(1)
    conv = cast("nn.Conv2d", layer)
    patches = F.unfold(
        entered,
        conv.kernel_size,
        dilation=conv.dilation,
        padding=cast("tuple[int, int]", conv.padding),
        stride=conv.stride,
    )
    return back.flatten(2) @ patches.transpose(1, 2)
