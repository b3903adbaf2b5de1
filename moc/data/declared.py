"""What is declared public about a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What is declared public about a data set; nothing here may be computed from private records.

    Attributes:
        name: Short name, used in folders and cards.
        shape: Shape of one record: (channels, height, width) for images, (features,) for vectors.
        classes: Names of the classes; label k means `classes[k]`.
        count: Number of records N, declared public.
        mean: Normalisation mean per channel (one value for vectors), in [0, 1] units, public.
        std: Normalisation standard deviation per channel, likewise.
        mirrored: Whether a horizontal flip keeps an image in its class.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    count: int
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    mirrored: bool = False

    @property
    def is_image(self) -> bool:
        """Whether records are images rather than feature vectors."""
        return len(self.shape) == 3
