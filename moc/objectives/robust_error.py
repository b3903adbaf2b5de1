"""Error under attack: the objective of adversarial robustness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import Tensor
from typing_extensions import override

from moc.attacks.threat import Threat
from moc.discrepancies.adversarial import Attacked
from moc.discrepancies.base import LOSSES, Discrepancy, Loss, LossContext, LossPart
from moc.evaluate.measure import Measure, error_estimate
from moc.evaluate.robust import Robustness
from moc.evaluate.scores import Estimate
from moc.evaluate.suites import Suite
from moc.evaluate.together import Together, stackable
from moc.networks.network import Network
from moc.networks.train import Training
from moc.objectives.base import FrameContext, MeasureContext, Objective
from moc.privacy.held_out import Rates


class RobustError(Objective):
    """Share of records that fall to the worst of several attacks within the study's threat.

    Attributes:
        adversarial: The loss in S.
    """

    kind: Literal["robust_error"] = "robust_error"
    words: ClassVar[str] = "robust error"
    weighed: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "Networks withstand more where every batch of their training is attacked, whatever the "
        "set: the objective hardened_error measures that."
    )
    adversarial: Annotated[LossPart, LOSSES] = Attacked()

    @property
    @override
    def needs(self) -> frozenset[str]:
        return self.adversarial.needs

    @override
    def check(self, discrepancy: Discrepancy) -> None:
        self.adversarial.check(discrepancy)

    @override
    def loss(self, context: LossContext) -> Loss:
        return self.adversarial.build(context)

    @override
    def measure(self, context: MeasureContext) -> Measure:
        return RightUnderAttack(
            training=context.training, suite=context.suite, threat=context.threat
        )

    @override
    def frame(self, context: FrameContext) -> tuple[float, float]:
        return 0.0, 1.0


@dataclass(frozen=True, kw_only=True)
class RightUnderAttack(Measure):
    """Records that are right under every attack of a suite, one column."""

    training: Training
    suite: Suite
    threat: Threat

    @override
    def outcomes(self, network: Network, x: Tensor, y: Tensor, *, seed: int) -> Tensor:
        attacked = Robustness(
            model=network,
            suite=self.suite,
            threat=self.threat,
            classes=network.head.out_features,
            seed=seed,
        )
        return attacked.correct(x, y).unsqueeze(1)

    @override
    def together(
        self, networks: Sequence[Network], x: Tensor, y: Tensor, *, seeds: Sequence[int]
    ) -> Tensor:
        if not stackable(networks):
            return super().together(networks, x, y, seeds=seeds)
        attacked = Together(networks=networks, suite=self.suite, threat=self.threat, seeds=seeds)
        return attacked.correct(x, y).T.unsqueeze(2).float()

    @override
    def estimate(self, rates: Rates) -> Estimate:
        return error_estimate(rates)
