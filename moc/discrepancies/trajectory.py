"""Distance between where training on S and training on T take the same network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.func import functional_call, grad, vmap
from typing_extensions import override

from moc.discrepancies.base import Discrepancy
from moc.evidence.base import View
from moc.networks.bank import Encoded, Member

_Weights = dict[str, Tensor]


class TrajectoryMatching(Discrepancy):
    """Trajectory matching: MTT (arXiv 2203.11932); TESLA (2211.10586) where it is truncated.

    From the weights θ of the view's network, N steps of SGD on all of S lead to θ_S, and M steps on
    batches of T to θ_T: the value is ‖θ_S - θ_T‖² / ‖θ - θ_T‖². It is 1 for a set that moves
    nothing, and 0 for one that teaches what T teaches.

    We differ from the papers in the experts: short trainings from networks of the bank, or of a
    pool that learns from S, where they store whole trainings on T; and the learning rate of S is
    fixed.

    Attributes:
        steps: Steps on S, N.
        expert_steps: Steps on T, M, each on its own part of the view's records.
        lr: Learning rate on S.
        expert_lr: Learning rate on T.
        truncated: Whether each step's gradient is that of its own records alone, with the weights
            that it starts from as they are; memory does not grow with the steps then.
    """

    kind: Literal["trajectory-matching"] = "trajectory-matching"
    steps: int = Field(default=5, gt=0)
    expert_steps: int = Field(default=4, gt=0)
    lr: float = Field(default=0.02, gt=0)
    expert_lr: float = Field(default=0.02, gt=0)
    truncated: bool = True

    @override
    def value(self, encoded: Encoded, view: View, /) -> Tensor:
        step, start = _step_of(encoded.member)
        target = self._expert(step, start, view)
        x, labels = encoded.records, encoded.labels
        start = _spread(start, len(x))
        target = _spread(target, len(x))
        reach = _squared(_between(start, target)).clamp_min(1e-12)
        if self.truncated:
            return _Truncated.apply(x, labels, step, start, target, reach, self.steps, self.lr)
        for _ in range(self.steps):
            start = _moved(start, step(start, x, labels), self.lr)
        return _squared(_between(start, target)) / reach

    @torch.no_grad()
    def _expert(self, step: _Step, start: _Weights, view: View) -> _Weights:
        """Weights (B or 1, ...) after the steps on T."""
        x, labels = view.batch()
        labels = labels.expand(len(x), *labels.shape[-2:])
        weights = _spread(start, len(x))
        parts, several = (one.tensor_split(self.expert_steps, 1) for one in (x, labels))
        for part, targets in zip(parts, several, strict=True):
            weights = _moved(weights, step(weights, part, targets), self.expert_lr)
        return weights


_Step = Callable[[_Weights, Tensor, Tensor], _Weights]
"""Gradients (B, ...) of weights (B, ...) from records (B, n, *shape) and labels (B, n, c)."""


def _step_of(member: Member) -> tuple[_Step, _Weights]:
    """What a step of training is to a network, and the weights (1, ...) that it starts from."""
    network = member.network
    buffers = dict(network.named_buffers())

    def loss(weights: _Weights, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(network, (weights, buffers), (x,)), labels)

    def step(weights: _Weights, x: Tensor, labels: Tensor) -> _Weights:
        drawn = member.drawn(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return vmap(grad(loss))(weights, drawn, labels)

    return step, {name: one.detach().unsqueeze(0) for name, one in network.named_parameters()}


class _Truncated(torch.autograd.Function):
    """The value, whose gradient is summed step by step while it is computed."""

    @staticmethod
    @override
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        labels: Tensor,
        step: _Step,
        start: _Weights,
        target: _Weights,
        reach: Tensor,
        steps: int,
        lr: float,
    ) -> Tensor:
        """Values (B,) of sets x (B, M, *shape) with labels (B, M, c)."""
        path = [start]
        for _ in range(steps):
            path.append(_moved(path[-1], step(path[-1], x, labels), lr))
        gap = _between(path[-1], target)
        found = [torch.zeros_like(x), torch.zeros_like(labels)]
        if any(ctx.needs_input_grad):
            for weights in path[:-1]:
                with torch.enable_grad():
                    records = x.detach().requires_grad_()
                    targets = labels.detach().requires_grad_()
                    along = _products(gap, step(weights, records, targets)) * (-2 * lr / reach)
                    parts = torch.autograd.grad(along.sum(), (records, targets))
                found = [a + b for a, b in zip(found, parts, strict=True)]
        ctx.save_for_backward(*found)
        return _squared(gap) / reach

    @staticmethod
    @override
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Gradients of the records and the labels; `weight` (B,) is that of the values."""
        x, labels = (one * weight.view(-1, *[1] * (one.dim() - 1)) for one in ctx.saved_tensors)
        return (x, labels, *[None] * 6)


def _spread(weights: _Weights, count: int) -> _Weights:
    return {name: one.expand(count, *one.shape[1:]) for name, one in weights.items()}


def _moved(weights: _Weights, gradients: _Weights, lr: float) -> _Weights:
    return {name: one - lr * gradients[name] for name, one in weights.items()}


def _between(a: _Weights, b: _Weights) -> _Weights:
    return {name: one - b[name] for name, one in a.items()}


def _products(a: _Weights, b: _Weights) -> Tensor:
    """Inner products (B,)."""
    return torch.stack([(one * b[name]).flatten(1).sum(1) for name, one in a.items()]).sum(0)


def _squared(a: _Weights) -> Tensor:
    return _products(a, a)
