"""A protocol for searches on a CPU."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from typing_extensions import override

from moc.data.declared import DataInfo
from moc.evaluate.protocols.base import TrainingProtocol
from moc.evaluate.suites import SUITES, FastSuite, Suite
from moc.networks.architectures import default_network

_SMALL = 16
"""Longest side, in pixels, of images for which augmented training at a large rate is quickest."""


class Fast(TrainingProtocol):
    """Close to a long training, in seconds a network; RESULTS.md compares it with that."""

    kind: Literal["fast"] = "fast"
    suite: Annotated[Suite, SUITES] = FastSuite()

    @override
    def defaults(self, info: DataInfo) -> dict[str, Any]:
        if not info.is_image:
            epochs, lr, augmentation = 200, 0.03, "none"
        elif max(info.shape[1:]) <= _SMALL:
            epochs, lr, augmentation = 150, 0.1, "dsa"
        else:
            epochs, lr, augmentation = 100, 0.03, "none"
        network = default_network(info)
        return {"network": network, "epochs": epochs, "lr": lr, "augmentation": augmentation}
