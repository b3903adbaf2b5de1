"""What every architecture is: a body that maps records to features, apart from their shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator
from torch import nn

from moc.data.declared import DataInfo
from moc.errors import StudyError
from moc.networks.pooling import HalvingPool
from moc.parts import Family, Part

_SMALL = 16
"""Longest side, in pixels, of images for which two blocks do."""


class Architecture(Part, ABC):
    """A network's architecture, apart from its input shape and classes.

    BatchNorm is not offered: it mixes records, which no per-record privacy bound survives.

    Attributes:
        half: Average blocks of 2 x 2 pixels before anything else: a fourth of the cost, for banks
            of many networks on a CPU.
        needs_images: Whether it works on images alone.
    """

    half: bool = False
    needs_images: ClassVar[bool] = True

    @property
    @abstractmethod
    def short(self) -> str:
        """Short name without `-half`, such as `convnet3-w128`."""

    @classmethod
    @abstractmethod
    def read(cls, short: str) -> Self | None:
        """The architecture of a short name without `-half`; None if it is of another kind."""

    @abstractmethod
    def layers(self, info: DataInfo) -> tuple[nn.Module, int]:
        """From normalised records (n, *info.shape) to features (n, d), and d."""

    @property
    def name(self) -> str:
        """Short name, which `parse_network` reads."""
        return f"{self.short}{'-half' if self.half else ''}"

    def body(self, info: DataInfo) -> tuple[nn.Module, int]:
        """From normalised records (n, *info.shape) to features (n, d), and d.

        Raises:
            StudyError: If it needs images and the records are vectors.
        """
        if (self.half or self.needs_images) and not info.is_image:
            raise StudyError(
                f"{self.name} needs images; {info.name} has records of shape {info.shape}. "
                "Use an mlp, such as 'mlp2-w256'."
            )
        if not self.half:
            return self.layers(info)
        channels, height, width = info.shape
        smaller = replace(info, shape=(channels, height // 2, width // 2))
        body, features = self.layers(smaller)
        return nn.Sequential(HalvingPool(width), body), features


ARCHITECTURES: Family[Architecture] = Family("networks", Architecture, "moc.networks.architectures")


def parse_network(text: str) -> Architecture:
    """Read a short name, such as `convnet2-w32-plain-half`, `resnet8-w16` or `linear`.

    Raises:
        StudyError: If no architecture has such a name.
    """
    short = text.removesuffix("-half")
    for kind in ARCHITECTURES.parts.values():
        if (found := kind.read(short)) is not None:
            return found.but(half=text != short)
    raise StudyError(
        "A network such as 'convnet3-w128', 'resnet8-w16', 'mlp2-w256' or 'linear' expected, "
        f"found {text!r}."
    )


def _short_name(chosen: object) -> object:
    try:
        return parse_network(chosen) if isinstance(chosen, str) else chosen
    except StudyError as error:
        raise ValueError(str(error)) from None


AnyNetwork = Annotated[Architecture, ARCHITECTURES, BeforeValidator(_short_name)]
"""An architecture in a study file: a short name, or a table."""


def default_network(info: DataInfo) -> Architecture:
    """A light architecture for records of this shape."""
    if not info.is_image:
        return parse_network("mlp2-w128")
    return parse_network("convnet2-w32" if max(info.shape[1:]) <= _SMALL else "convnet3-w32")
