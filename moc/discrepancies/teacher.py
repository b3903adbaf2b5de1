"""Agreement with a robust teacher: the adversarial objective of private studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from moc.discrepancies.base import Encoded, Objective
from moc.networks import mean_prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from moc.evidence.views import View


class TeacherAgreement(Objective):
    """Mean of ‖y_s - p(x_s)‖² over S, for p the mean prediction of adversarially trained teachers.

    A network that is trained plainly on S learns the decision surface that S carries; labels from
    an adversarially trained teacher carry a robust one (robust distillation; measured for
    condensed sets in the README). Images and learned labels both move. Each rung has teachers of
    its own, made from what a reader of that rung may see.
    """

    def __init__(self, teachers: Sequence[Sequence[nn.Module]]) -> None:
        """Agree with `teachers[rung]`, networks that map records in [0, 1] to logits."""
        super().__init__()
        self.teachers = nn.ModuleList(nn.ModuleList(group) for group in teachers)
        self.requires_grad_(False).eval()

    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """See `Objective`."""
        gap = encoded.labels - self._predictions(encoded.records, view.rungs)
        return gap.square().sum(2).mean(1)

    def _predictions(self, records: Tensor, rungs: Sequence[int]) -> Tensor:
        """Mean probabilities (B, M, c) of each set's own teachers."""
        order = [min(rung, len(self.teachers) - 1) for rung in rungs]
        parts: dict[int, Tensor] = {}
        for rung in set(order):
            chosen = records[[b for b, r in enumerate(order) if r == rung]]
            group = self.teachers[rung]
            assert isinstance(group, nn.ModuleList)
            mean = mean_prediction(group, chosen.flatten(0, 1))
            parts[rung] = mean.unflatten(0, chosen.shape[:2])
        seen = dict.fromkeys(parts, 0)
        rows = []
        for rung in order:
            rows.append(parts[rung][seen[rung]])
            seen[rung] += 1
        return torch.stack(rows)
