"""Several networks of one architecture as one module, and their trainings side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from moc.attacks.base import Attack
from moc.data.declared import DataInfo
from moc.networks.network import Network, build, copied
from moc.networks.steps import augmentation_of, plan
from moc.networks.train import Augmented, Trainer, Training


class Stack(nn.Module):
    """R networks with their weights in one tensor each, so that a kernel serves all of them.

    Maps records (R * n, *shape), those of network 0 first, then those of network 1, ..., to logits
    (R * n, classes): what each network says of its own records, up to rounding.

    Attributes:
        size: Number of networks R.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        """Copy the weights of networks of one architecture."""
        super().__init__()
        self.size = len(networks)
        weights, buffers = stack_module_state(list(networks))
        self._names, self._constants = tuple(weights), tuple(buffers)
        self.weights = nn.ParameterList(one.detach().clone() for one in weights.values())
        for place, one in enumerate(buffers.values()):
            self.register_buffer(f"constant{place}", one)
        self._like = (copied(networks[0]),)  # in a tuple: none of its weights are ours

    def forward(self, x: Tensor) -> Tensor:
        """Logits (R * n, classes) of records (R * n, *shape) in [0, 1]."""
        weights = dict(zip(self._names, self.weights, strict=True))
        constants = dict(zip(self._constants, self.buffers(), strict=True))

        def one(weights: dict[str, Tensor], constants: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(self._like[0], (weights, constants), (x,))

        return vmap(one)(weights, constants, x.unflatten(0, (self.size, -1))).flatten(0, 1)

    def networks(self) -> list[Network]:
        """The R networks, in evaluation mode, whose parameters take no gradient."""
        found = []
        for r in range(self.size):
            network = copied(self._like[0]).to(self.weights[0].device)
            network.eval().requires_grad_(False)
            own = dict(network.named_parameters())
            for name, weights in zip(self._names, self.weights, strict=True):
                own[name].copy_(weights[r].detach())
            found.append(network)
        return found


def stacks_pay(device: torch.device | str) -> bool:
    """Whether networks are faster in a stack than in turn: not on a CPU (RESULTS.md)."""
    return torch.device(device).type != "cpu"


def may_be_stacked(attack: Attack | None) -> bool:
    """Whether networks trained under it see in a stack what each would see alone."""
    return attack is None or attack.in_order


def fit_stack(
    x: Tensor,
    labels: Tensor,
    info: DataInfo,
    training: Training,
    *,
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
) -> list[Network]:
    """Train R networks side by side; each comes out as from `moc.networks.train.fit`.

    Args:
        x: Records (R, n, *shape) float32 in [0, 1].
        labels: Label distributions (R, n, classes).
        info: Public facts about the data.
        training: Under an attack that is `in_order`, or none.
        seeds: Public seed of each network.
        device: Where to train.

    Returns:
        The networks, up to rounding.

    Raises:
        ValueError: If the attack chooses for itself which records to show a network.
    """
    if not may_be_stacked(training.attack):
        raise ValueError("Networks that are trained under such an attack are trained in turn.")
    networks = [build(training.network, info, seed=seed) for seed in seeds]
    stack = Stack(networks).to(device)
    trainer = Trainer(stack, training.sgd, networks=len(seeds))
    x, labels = x.detach().to(device), labels.detach().to(device)
    each = torch.arange(len(seeds), device=device).unsqueeze(1)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    augmentation = augmentation_of(training, info)
    for epoch, rows, draw in plan(x.shape[1], training, augmentation, info, generators, device):
        images, targets = (x, labels) if rows is None else (x[each, rows], labels[each, rows])
        images, targets = images.flatten(0, 1), targets.flatten(0, 1)
        if training.attack is not None:
            firsts = [int(torch.randint(2**31, (), generator=one)) for one in generators]
            with OwnNumbers(firsts, [len(images) // len(seeds)] * len(seeds), images.device):
                images = training.attack(
                    Augmented(draw, stack),
                    images,
                    targets.argmax(1),
                    threat=training.threat,
                    classes=len(info.classes),
                    seed=0,
                    trusted=True,
                )
        trainer.step(draw(images), targets, decayed=training.decayed(epoch))
    return stack.networks()


class OwnNumbers(TorchFunctionMode):
    """Inside, every R-th part of a tensor is filled with the numbers that it would get alone."""

    def __init__(self, seeds: Sequence[int], counts: Sequence[int], device: torch.device) -> None:
        """Fill the first `counts[r]` rows of part r from `seeds[r]`; the rest are ones."""
        super().__init__()
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._own = list(zip(generators, counts, strict=True))

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func not in (torch.Tensor.uniform_, torch.Tensor.normal_):
            return func(*args, **kwargs)
        whole = args[0].fill_(1.0)
        parts = whole.unflatten(0, (len(self._own), -1))
        for part, (generator, count) in zip(parts, self._own, strict=True):
            func(part[:count], *args[1:], **kwargs, generator=generator)
        return whole
