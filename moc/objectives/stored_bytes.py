"""What a set takes to store."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from typing_extensions import override

from moc.data.synthetic import bytes_of
from moc.objectives.base import Facts, FrameContext, Objective


class StoredBytes(Objective):
    """Bytes of the stored records and labels, as float32; hard labels count as one byte each."""

    kind: Literal["stored_bytes"] = "stored_bytes"
    words: ClassVar[str] = "stored size"
    unit: ClassVar[Literal["share", "epsilon", "bytes"]] = "bytes"
    scale: ClassVar[Literal["linear", "log2"]] = "log2"
    exact: ClassVar[bool] = True

    @override
    def value(self, facts: Facts) -> float:
        return float(bytes_of(facts.synthetic))

    @override
    def frame(self, context: FrameContext) -> tuple[float, float]:
        """One record a class to the largest set of the study."""
        one = 4 * len(context.info.classes) * math.prod(context.info.shape)
        return float(one), float(max(context.largest_set, 2 * one))
