"""Error under attack of networks whose training was attacked too."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from typing_extensions import override

from moc.attacks.base import ATTACKS, Attack
from moc.evaluate.measure import Measure
from moc.evaluate.protocols.base import ADVERSARIAL
from moc.objectives.base import FrameContext, MeasureContext, Objective
from moc.objectives.robust_error import RightUnderAttack


class HardenedError(Objective):
    """Robust error of networks trained adversarially on S (Madry et al., arXiv 1706.06083).

    Every batch of their training is attacked within the study's threat, and all else is as the
    protocol has it. Each network costs `attack.steps` + 1 times a plain training.

    Attributes:
        attack: On every batch.
    """

    kind: Literal["hardened_error"] = "hardened_error"
    words: ClassVar[str] = "robust error, trained under attack"
    attack: Annotated[Attack, ATTACKS] = ADVERSARIAL

    @override
    def measure(self, context: MeasureContext) -> Measure:
        return RightUnderAttack(
            training=context.training.under(self.attack, context.threat),
            suite=context.suite,
            threat=context.threat,
        )

    @override
    def frame(self, context: FrameContext) -> tuple[float, float]:
        return 0.0, 1.0
