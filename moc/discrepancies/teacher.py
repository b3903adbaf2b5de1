"""Agreement with a robust teacher: an adversarial loss without an attack in the loop."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from typing_extensions import override

from moc.discrepancies.base import Loss, LossContext, LossPart
from moc.evidence.base import View
from moc.networks.bank import Encoded
from moc.networks.network import Ensembles


class Teacher(LossPart):
    """Agreement of S with networks trained adversarially on what condensation may read."""

    kind: Literal["teacher"] = "teacher"

    @override
    def build(self, context: LossContext) -> TeacherAgreement:
        return TeacherAgreement(context.teachers())


class TeacherAgreement(Loss):
    """Mean of ‖y_s - p(x_s)‖² over S, for p the mean prediction of adversarially trained teachers.

    A network that is trained plainly on S learns the decision surface that S carries; labels from
    an adversarially trained teacher carry a robust one (robust distillation). Images and learned
    labels both move. Each rung has teachers of its own, made from what a reader of it may see.
    """

    def __init__(self, teachers: Ensembles) -> None:
        """Agree with `teachers`, networks that map records in [0, 1] to logits."""
        super().__init__()
        self.teachers = teachers

    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """One value for each synthetic set: (B,)."""
        gap = encoded.labels - self.teachers(encoded.records, view.rungs)
        return gap.square().sum(2).mean(1)
