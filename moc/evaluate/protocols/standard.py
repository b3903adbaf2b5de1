"""The field's recipe, for numbers that are compared."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from typing_extensions import override

from moc.data.declared import DataInfo
from moc.evaluate.protocols.base import TrainingProtocol
from moc.evaluate.suites import SUITES, StandardSuite, Suite
from moc.networks.architectures import parse_network


class Standard(TrainingProtocol):
    """ConvNet-3 of width 128, SGD at 0.01, 1000 epochs with DSA (arXiv 2102.08259, 2110.04181).

    Feature vectors, for which the field has no recipe, get an MLP and, as there is nothing to
    augment, the 300 epochs of unaugmented training (DC, 2006.05929).
    """

    kind: Literal["standard"] = "standard"
    suite: Annotated[Suite, SUITES] = StandardSuite()

    @override
    def defaults(self, info: DataInfo) -> dict[str, Any]:
        network = parse_network("convnet3-w128" if info.is_image else "mlp2-w256")
        epochs, augmentation = (1000, "dsa") if info.is_image else (300, "none")
        return {"network": network, "epochs": epochs, "lr": 0.01, "augmentation": augmentation}
