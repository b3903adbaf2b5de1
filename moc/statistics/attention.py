"""Where a network looks: maps of its activations, layer by layer."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from moc.networks.bank import Bank, Member
from moc.statistics.base import Statistic


class Attention(Statistic):
    """Spatial attention of every ReLU layer, and the features beside it (DataDAM, 2310.00093).

    A layer's map is Σ |activation|^p over its channels, of norm one. With the squared distance
    between class means this is the loss of DataDAM, over the number of layers plus the weight of
    the features, so that terms have norm at most one.

    Attributes:
        power: p.
        features: Weight of the features' squared distance beside those of the maps.
    """

    kind: Literal["attention"] = "attention"
    power: float = Field(default=4.0, gt=0)
    features: float = Field(default=0.01, gt=0)

    @override
    def size(self, bank: Bank) -> int:
        member, blank = bank.member(0), torch.zeros(1, *bank.info.shape, device=bank.device)
        with torch.no_grad():
            return self.terms(member, blank, blank, member(blank)).shape[1]

    @override
    def terms(self, member: Member, x: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        maps = [
            F.normalize((one.abs() ** self.power).flatten(2).sum(1), dim=1)
            for one in member.activations(x)
        ]
        beside = math.sqrt(self.features) * features
        return torch.cat([*maps, beside], dim=1) / math.sqrt(len(maps) + self.features)
