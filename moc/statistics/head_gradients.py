"""Gradients of a network's head: what one step of training on a record would change there."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor
from typing_extensions import override

from moc.networks.bank import Bank, Member
from moc.statistics.base import Statistic


class HeadGradients(Statistic):
    """(p - y) ⊗ φ / √2, the gradient of the cross-entropy for a linear head on φ.

    p are the probabilities by the network's own head, random in random networks. ‖p - y‖ is at most
    √2, so terms have norm at most one. Compared by the cosine it is gradient matching of the last
    layer (DC, arXiv 2006.05929).
    """

    kind: Literal["head-gradients"] = "head-gradients"

    @override
    def size(self, bank: Bank) -> int:
        return len(bank.info.classes) * bank.member(0).dimension

    @override
    def terms(self, member: Member, x: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        logits = member.head_logits(features)
        residual = (logits.softmax(1) - labels) / math.sqrt(2.0)
        return (residual.unsqueeze(2) * features.unsqueeze(1)).flatten(1)
