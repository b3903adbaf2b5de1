"""Banks of random networks with public seeds: the feature maps under which T and S are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moc.data.augment import Augmentation, AugmentationDraw
from moc.data.declared import DataInfo
from moc.networks.architectures import Architecture
from moc.networks.network import Network, build

_CENTRE_IMAGES = 256  # public noise images whose mean embedding is the centre


class Member(nn.Module):
    """One network of a bank, with its own augmentation draw.

    Maps records (n, *shape) to features (n, d), each record by itself.

    Features are centred by a public centre and have norm one, so that every statistic of a record
    is bounded before it is computed.

    Attributes:
        dimension: Number of features d.
        compact_dimension: Number of features p after the public projection; d without one.
    """

    centre: Tensor
    projection: Tensor | None

    def __init__(
        self,
        network: Network,
        *,
        draw: AugmentationDraw | None,
        width: int | None,
        generator: torch.Generator,
    ) -> None:
        """Fix centre and projection; `generator` is public and nothing here reads a record."""
        super().__init__()
        self.network = network.requires_grad_(False)
        self.draw = draw
        self.register_buffer("centre", torch.zeros(network.features))
        self.register_buffer("projection", _projection(network.features, width, generator))
        self.dimension = network.features
        self.compact_dimension = network.features
        if self.projection is not None:
            self.compact_dimension = self.projection.shape[1]

    def set_centre(self, x: Tensor) -> Member:
        """Centre by the mean embedding of public records `x` (n, *shape)."""
        with torch.no_grad():
            self.centre = self.network.embed(x).mean(0)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, d) of norm one of records (n, *shape) in [0, 1]; differentiable in `x`."""
        return F.normalize(self.network.embed(self.drawn(x)) - self.centre, dim=-1, eps=1e-6)

    def drawn(self, x: Tensor) -> Tensor:
        """Records (n, *shape) under the member's augmentation, if it has one."""
        return x if self.draw is None else self.draw(x)

    def activations(self, x: Tensor) -> list[Tensor]:
        """What every ReLU layer of images gives, (n, channels, height, width), in order."""
        found: list[Tensor] = []

        def keep(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            del layer, inputs
            if output.dim() == 4:
                found.append(output.to(x.dtype))

        layers = [one for one in self.network.body.modules() if isinstance(one, nn.ReLU)]
        handles = [layer.register_forward_hook(keep) for layer in layers]
        try:
            self.network.embed(self.drawn(x))
        finally:
            for handle in handles:
                handle.remove()
        return found

    def logits(self, x: Tensor) -> Tensor:
        """Logits (n, c) of the network's own head, which random networks have at random."""
        return self.network(self.drawn(x))

    def head_logits(self, features: Tensor) -> Tensor:
        """Logits (n, c) of the network's own weights of the head on features (n, d)."""
        return features @ self.network.head.weight.T.to(features.dtype)

    def compact(self, features: Tensor) -> Tensor:
        """Project features (..., d) to (..., p); the identity if there is no projection.

        The map is random and orthonormal, scaled so that norms are kept on average.
        """
        if self.projection is None:
            return features
        return features @ self.projection.to(features.dtype)


@dataclass(frozen=True, kw_only=True)
class Bank:
    """The law of the networks; member k is rebuilt from (seed, k) whenever it is needed.

    Attributes:
        info: Public facts about the data.
        networks: Architectures, used in turn.
        seed: Public seed of weights, projections and augmentation draws.
        augmentation: Strategy whose k-th draw belongs to member k, the same for T and S (Siamese);
            None for no augmentation.
        width: Project features to this many for second moments; None keeps them all.
        device: Where the networks live.
    """

    info: DataInfo
    networks: tuple[Architecture, ...]
    seed: int
    augmentation: Augmentation | None = None
    width: int | None = None
    device: str = "cpu"

    def member(self, k: int) -> Member:
        """Member number `k`; any k >= 0 will do. It is shared, so never to be changed."""
        return _member(self, k)

    def network(self, k: int, seed: int) -> Network:
        """The network of member number `k`, of one's own, which may be drawn from `seed`."""
        return build(self.networks[k % len(self.networks)], self.info, seed=seed)

    def describe(self) -> str:
        """The law in words, for the ledger: sums under other networks are another release."""
        names = ", ".join(network.name for network in self.networks)
        augmented = "" if self.augmentation is None else ", augmented"
        width = "" if self.width is None else f", projected to {self.width}"
        return f"public networks ({names}, seed {self.seed}{augmented}{width})"

    def draw(self, generator: torch.Generator) -> AugmentationDraw | None:
        """An augmentation draw, one for all records; None without augmentation."""
        if self.augmentation is None or not self.info.is_image:
            return None
        channels, height, width = self.info.shape
        return self.augmentation.draw(1, (channels, height, width), generator=generator)

    def fresh(self, k: int) -> Member:
        """A copy of member number `k` of one's own."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + k)
        network = self.network(k, int(torch.randint(2**62, (), generator=generator)))
        draw = self.draw(generator)
        member = Member(network, draw=draw, width=self.width, generator=generator)
        # Drawn on the CPU for the same numbers everywhere; what is made of them is made there.
        middle = self.middle(generator).to(self.device, non_blocking=True)
        return member.eval().to(self.device, non_blocking=True).set_centre(middle)

    def middle(self, generator: torch.Generator) -> Tensor:
        """Public records (n, *shape) whose mean embedding is the centre of a member: noise."""
        return torch.rand(_CENTRE_IMAGES, *self.info.shape, generator=generator)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """B synthetic sets under one network.

    Attributes:
        member: The network.
        records: Training records of the sets (B, M, *shape) in [0, 1].
        features: (B, M, d), differentiable in the records.
        labels: Label distributions (B, M, c).
    """

    member: Member
    records: Tensor
    features: Tensor
    labels: Tensor


def encode(records: Tensor, labels: Tensor, member: Member) -> Encoded:
    """Embed all sets by `member` at once: records (B, M, *shape), labels (B, M, c)."""
    features = member(records.flatten(0, 1)).unflatten(0, records.shape[:2])
    return Encoded(member=member, records=records, features=features, labels=labels)


@lru_cache(maxsize=256)
def _member(bank: Bank, k: int) -> Member:
    return bank.fresh(k)


def _projection(features: int, width: int | None, generator: torch.Generator) -> Tensor | None:
    if width is None or width >= features:
        return None
    gaussian = torch.randn(features, width, generator=generator)
    return torch.linalg.qr(gaussian).Q * math.sqrt(features / width)
