"""Networks, built from a public seed so that they never need to be stored."""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from moc.data.declared import DataInfo
from moc.networks.architectures import Architecture

Compute = Literal["float32", "bfloat16"]
"""What the layers of a network compute in; weights, normalisation and features are float32."""

_Module = TypeVar("_Module", bound=nn.Module)
_compute: ContextVar[Compute] = ContextVar("compute", default="float32")


@contextmanager
def computing_in(compute: Compute) -> Iterator[None]:
    """Let the bodies of all networks compute in another precision, within this block."""
    before = _compute.set(compute)
    try:
        yield
    finally:
        _compute.reset(before)


class Network(nn.Module):
    """A feature map followed by a linear head; takes records in [0, 1] and normalises them itself.

    Attributes:
        features: Number of features d that `embed` returns.
        mean: Public normalisation mean, shaped to broadcast over records.
        std: Public normalisation standard deviation, likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, *, info: DataInfo, features: int) -> None:
        """Join `body` ((n, *shape) normalised records to (n, features)) and a fresh head."""
        super().__init__()
        self.body = body
        self.features = features
        self.head = nn.Linear(features, len(info.classes))
        tail = (1,) * (len(info.shape) - 1)
        self.register_buffer("mean", torch.tensor(info.mean).reshape(-1, *tail))
        self.register_buffer("std", torch.tensor(info.std).reshape(-1, *tail))

    def embed(self, x: Tensor) -> Tensor:
        """Features (n, d) of records (n, *shape) in [0, 1]."""
        x = (x - self.mean) / self.std
        if _compute.get() == "float32":
            return self.body(x)
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.body(x).float()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of records (n, *shape) in [0, 1]."""
        return self.head(self.embed(x))


def mean_prediction(networks: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Mean of the networks' probabilities (n, classes) for records x (n, *shape) in [0, 1]."""
    return torch.stack([network(x).softmax(-1) for network in networks]).mean(0)


class Ensembles(nn.Module):
    """One ensemble of networks for every rung, each made from what a reader of it may see."""

    def __init__(self, groups: Sequence[Sequence[nn.Module]]) -> None:
        """Let readers of rung r ask `groups[r]`, or the last group where there are fewer."""
        super().__init__()
        self.groups = nn.ModuleList(nn.ModuleList(group) for group in groups)
        self.requires_grad_(False).eval()

    def forward(self, records: Tensor, rungs: Sequence[int]) -> Tensor:
        """Mean probabilities (B, n, c) of each set's own ensemble for records (B, n, *shape)."""
        order = [min(rung, len(self.groups) - 1) for rung in rungs]
        rows: dict[int, Tensor] = {}
        for group in set(order):
            places = [b for b, other in enumerate(order) if other == group]
            networks = cast("nn.ModuleList", self.groups[group])
            found = mean_prediction(networks, records[places].flatten(0, 1))
            rows.update(zip(places, found.unflatten(0, (len(places), -1)), strict=True))
        return torch.stack([rows[b] for b in range(len(order))])


def build(architecture: Architecture, info: DataInfo, *, seed: int) -> Network:
    """Build a freshly initialised network; the same seed gives the same weights on any machine.

    Args:
        architecture: Without the shape.
        info: Gives the record shape, the classes and the normalisation constants.
        seed: Public seed of the weights; no other generator is read or changed.

    Returns:
        A network in evaluation mode, float32, on the CPU.
    """
    network = copied(_blank(cast("Hashable", architecture), info))
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # The law of PyTorch's own reset_parameters, drawn from our generator.
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
            if module.bias is not None:
                bound = 1 / math.sqrt(module.weight[0].numel())
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    return network.eval()


@lru_cache(maxsize=32)
def _blank(architecture: Architecture, info: DataInfo) -> Network:
    """A network whose weights are still to be drawn; to be copied, since it is shared."""
    with torch.random.fork_rng(devices=[]):
        body, features = architecture.body(info)
        return Network(body, info=info, features=features)


def copied(module: _Module) -> _Module:
    """What `copy.deepcopy` gives, in a quarter of its time: a step of condensation has a network.

    That looks into the two dozen dictionaries of every layer; here they are copied as they are.
    Modules of anybody else, who may hold more in theirs, are left to it.
    """
    return _copied(module, {})


def _copied(module: _Module, memo: dict[int, Any]) -> _Module:
    if id(module) in memo:
        return memo[id(module)]
    if not type(module).__module__.startswith(("torch.nn.modules.", "moc.")):
        return copy.deepcopy(module, memo)
    memo[id(module)] = found = type(module).__new__(type(module))
    fields: dict[str, Any] = {
        name: value.copy() if isinstance(value, dict | list | set) else value
        for name, value in vars(module).items()
    }
    for held in (fields["_parameters"], fields["_buffers"]):
        for name, numbers in held.items():
            held[name] = memo.setdefault(id(numbers), _own(numbers))
    for name, part in fields["_modules"].items():
        fields["_modules"][name] = None if part is None else _copied(part, memo)
    vars(found).update(fields)
    return found


def _own(numbers: Tensor | None) -> Tensor | None:
    if isinstance(numbers, nn.Parameter):
        return nn.Parameter(numbers.detach().clone(), requires_grad=numbers.requires_grad)
    return None if numbers is None else numbers.clone()


def finite_weights(network: nn.Module) -> bool:
    """Whether training has not diverged."""
    return all(bool(parameter.isfinite().all()) for parameter in network.parameters())
