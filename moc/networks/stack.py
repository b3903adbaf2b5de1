"""Several networks of one architecture as one module, and their trainings side by side."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from moc.data.declared import DataInfo
from moc.networks.network import Network, build
from moc.networks.steps import augmentation_of, plan
from moc.networks.train import Trainer, Training


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
        self._like = (copy.deepcopy(networks[0]),)  # in a tuple: none of its weights are ours

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
            network = copy.deepcopy(self._like[0]).to(self.weights[0].device)
            network.eval().requires_grad_(False)
            own = dict(network.named_parameters())
            for name, weights in zip(self._names, self.weights, strict=True):
                own[name].copy_(weights[r].detach())
            found.append(network)
        return found


def stacks_pay(device: torch.device | str) -> bool:
    """Whether networks are faster in a stack than in turn: not on a CPU (RESULTS.md)."""
    return torch.device(device).type != "cpu"


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
        training: Without an attack, whose random numbers would not be those of each network alone.
        seeds: Public seed of each network.
        device: Where to train.

    Returns:
        The networks, up to rounding.

    Raises:
        ValueError: If the training has an attack.
    """
    if training.attack is not None:
        raise ValueError("Networks that are trained under attack are trained in turn.")
    networks = [build(training.network, info, seed=seed) for seed in seeds]
    stack = Stack(networks).to(device)
    trainer = Trainer(stack, training.sgd, networks=len(seeds))
    x, labels = x.detach().to(device), labels.detach().to(device)
    each = torch.arange(len(seeds), device=device).unsqueeze(1)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    augmentation = augmentation_of(training, info)
    for epoch, rows, draw in plan(x.shape[1], training, augmentation, info, generators, device):
        images, targets = (x, labels) if rows is None else (x[each, rows], labels[each, rows])
        images = draw(images.flatten(0, 1))
        trainer.step(images, targets.flatten(0, 1), decayed=training.decayed(epoch))
    return stack.networks()
