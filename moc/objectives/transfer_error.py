"""Error of an architecture that condensation never saw."""

from __future__ import annotations

from typing import ClassVar, Literal

from typing_extensions import override

from moc.errors import StudyError
from moc.evaluate.measure import Measure
from moc.networks.architectures import AnyNetwork, parse_network
from moc.objectives.base import FrameContext, MeasureContext, Objective
from moc.objectives.error import Right


class TransferError(Objective):
    """Clean error of another architecture, trained on S by the study's protocol otherwise.

    Attributes:
        network: The architecture; an MLP if left out, which takes records of any shape.
    """

    kind: Literal["transfer_error"] = "transfer_error"
    words: ClassVar[str] = "transfer error"
    network: AnyNetwork | None = None

    @override
    def measure(self, context: MeasureContext) -> Measure:
        """Count what the other architecture gets right.

        Raises:
            StudyError: If condensation or the protocol uses this architecture.
        """
        network = self.network or parse_network("mlp2-w256")
        known = (*context.seen, context.training.network)
        if network in known:
            raise StudyError(
                f"transfer_error asks how an architecture fares that condensation never saw, and "
                f"the study uses {network.name}. Name another one: network = 'mlp2-w128', say."
            )
        return Right(training=context.training.model_copy(update={"network": network}))

    @override
    def frame(self, context: FrameContext) -> tuple[float, float]:
        return 0.0, 1 - 1 / len(context.info.classes)
