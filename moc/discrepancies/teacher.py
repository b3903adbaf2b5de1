"""Agreement with a robust teacher: the adversarial objective of private studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moc.discrepancies.base import Encoded, Objective

if TYPE_CHECKING:
    from torch import Tensor

    from moc.evidence.views import View
    from moc.networks import Ensembles


class TeacherAgreement(Objective):
    """Mean of ‖y_s - p(x_s)‖² over S, for p the mean prediction of adversarially trained teachers.

    A network that is trained plainly on S learns the decision surface that S carries; labels from
    an adversarially trained teacher carry a robust one (robust distillation; measured for
    condensed sets in the README). Images and learned labels both move. Each rung has teachers of
    its own, made from what a reader of that rung may see.
    """

    def __init__(self, teachers: Ensembles) -> None:
        """Agree with `teachers`, networks that map records in [0, 1] to logits."""
        super().__init__()
        self.teachers = teachers

    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """See `Objective`."""
        gap = encoded.labels - self.teachers(encoded.records, view.rungs)
        return gap.square().sum(2).mean(1)
