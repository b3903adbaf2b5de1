"""Differentiable augmentation of images (DSA, arXiv 2102.08259), on pixels in [0, 1].

Every record gets one operation, chosen evenly among the groups in use ("single" mode of the
paper's code): colour (brightness, saturation and contrast together), crop, cutout, flip, scale or
rotate. A draw of one row is Siamese: the same operation, with the same parameters, for a whole
batch.

Where this differs from DSA: it augments normalised images, moc those in [0, 1], so that networks
can keep the normalisation inside. Hence what moves into an image, or is cut out of it, is the
background value 0 rather than the mean grey, and the shift of brightness, 1.0 in units of one
standard deviation, is 0.35 in pixels, about that of the MNIST family.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from moc.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Generator, Tensor

BRIGHTNESS = 0.35
"""Width of the range of brightness shifts, in pixel units."""
SATURATION = 2.0
"""Largest factor on the deviation from the mean over channels; the smallest is 0."""
CONTRAST = 0.5
"""Smallest factor on the deviation from the mean over pixels; the largest is this plus one."""
CROP = 0.125
"""Largest shift, as a share of the side."""
CUTOUT = 0.5
"""Side of the square that is cut out, as a share of the image's side."""
SCALE = 1.2
"""Largest factor between the sides before and after; each axis has its own."""
ROTATE = 15.0
"""Largest angle in degrees."""

_COLOR = ("brightness", "saturation", "contrast")
_WARP = ("crop", "flip", "scale", "rotate")
_NAMES = (*_COLOR, *_WARP, "cutout")


@dataclass(frozen=True, kw_only=True)
class AugmentationDraw:
    """Drawn parameters: n rows, one a record, or a single row for every record (Siamese).

    Attributes:
        color: Shift of brightness, factor of saturation, factor of contrast: (n, 3); None for no
            change, as below.
        warp: Affine map from places in the result to places in the image, both in [-1, 1] with
            x to the right and y downwards: (n, 2, 3).
        cutout: Pixels to zero, rows top..bottom-1 of columns left..right-1: (n, 4) integers top,
            bottom, left, right, which may lie outside the image.
    """

    color: Tensor | None = None
    warp: Tensor | None = None
    cutout: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Augment float images (m, C, H, W), where m = n unless n = 1; differentiable in `x`.

        Values may leave [0, 1] by the brightness and contrast drawn: clamping would stop the
        gradient just where it is needed. Records whose row changes nothing stay exactly as they
        are. A draw without any change takes records of any shape.

        Raises:
            ValueError: If there are not as many images as rows, or they are not floats.
        """
        for rows in (self.color, self.warp, self.cutout):
            if rows is not None and not (x.is_floating_point() and len(rows) in (1, len(x))):
                raise ValueError(
                    f"A draw of {len(rows)} rows needs as many float images (any number if it is "
                    f"1), found {len(x)} of {x.dtype}; draw again for them."
                )
        if self.color is not None:
            x = _recolor(x, self.color.to(x))
        if self.warp is not None:
            x = _rewarp(x, self.warp.to(x))
        if self.cutout is not None:
            x = x.masked_fill(_inside(self.cutout.to(x.device), x.shape[-2], x.shape[-1]), 0.0)
        return x

    def to(self, device: torch.device | str) -> AugmentationDraw:
        """The same draw, on a device."""
        return self._each(lambda rows: rows.to(device))

    def rows(self, first: int, last: int) -> AugmentationDraw:
        """The rows first..last-1, as a draw of their own."""
        return self._each(lambda rows: rows[first:last])

    def _each(self, change: Callable[[Tensor], Tensor]) -> AugmentationDraw:
        """The draw whose parameters are these, changed."""
        color, warp, cutout = self.color, self.warp, self.cutout
        return AugmentationDraw(
            color=None if color is None else change(color),
            warp=None if warp is None else change(warp),
            cutout=None if cutout is None else change(cutout),
        )


@dataclass(frozen=True, kw_only=True)
class Chances:
    """The random numbers behind n rows of a draw.

    Attributes:
        group: What each row does, (n,) integers.
        u: Uniform numbers, (n, 3); no operation needs more.
    """

    group: Tensor
    u: Tensor

    @classmethod
    def together(cls, several: Sequence[Chances]) -> Chances:
        """All of them, one after the other."""
        return cls(
            group=torch.cat([one.group for one in several]), u=torch.cat([one.u for one in several])
        )


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which operations may be drawn.

    Attributes:
        names: Among brightness, saturation, contrast, crop, cutout, flip, scale, rotate; none of
            them leaves records, which may then be feature vectors too, as they are.
    """

    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the names."""
        if unknown := [name for name in self.names if name not in _NAMES]:
            raise StudyError(
                f"Augmentations among {', '.join(_NAMES)} expected, found {', '.join(unknown)}."
            )

    @classmethod
    def dsa(cls, mirrored: bool) -> Augmentation:
        """DSA's strategy: everything, but a flip only where it keeps an image in its class."""
        return cls(names=tuple(name for name in _NAMES if mirrored or name != "flip"))

    @classmethod
    def none(cls) -> Augmentation:
        """No augmentation."""
        return cls()

    @property
    def groups(self) -> tuple[str, ...]:
        """What one operation is drawn from: the names, with the three of colour as one."""
        color = ("color",) if set(self.names) & set(_COLOR) else ()
        return color + tuple(name for name in (*_WARP, "cutout") if name in self.names)

    def draw(self, n: int, shape: tuple[int, ...], *, generator: Generator) -> AugmentationDraw:
        """Draw parameters for n records of a shape; n = 1 serves a batch of any size.

        Args:
            n: Number of rows.
            shape: Shape of one record, (C, H, W).
            generator: A generator on the CPU, wherever the images are; the same state gives the
                same draw. Not touched if there is nothing to draw.

        Raises:
            StudyError: If there is something to draw and records are not images.
        """
        return self.of(self.chances(n, generator=generator), shape)

    def chances(self, n: int, *, generator: Generator) -> Chances:
        """The random numbers of `draw`; the generator is not touched if there is nothing to draw.

        Drawn step by step and made into draws together by `of`, which costs a tenth of making
        them one by one, they give the same rows.
        """
        groups = self.groups
        if not groups:
            return Chances(group=torch.empty(n, dtype=torch.int64), u=torch.empty(n, 3))
        group = torch.randint(len(groups), (n,), generator=generator)
        return Chances(group=group, u=torch.rand(n, 3, generator=generator))

    def of(self, chances: Chances, shape: tuple[int, ...]) -> AugmentationDraw:
        """The draw for records of a shape from its random numbers; see `draw`."""
        groups, u = self.groups, chances.u
        if not groups:
            return AugmentationDraw()
        if len(shape) != 3:
            raise StudyError(
                f"Augmentation {', '.join(self.names)} needs images (C, H, W); "
                f"found records of shape {tuple(shape)}. Use none for feature vectors."
            )
        rows = {name: chances.group == k for k, name in enumerate(groups)}
        rows = {name: row for name, row in rows.items() if row.any()}
        return AugmentationDraw(
            color=self._color(rows["color"], u) if "color" in rows else None,
            warp=_warp(rows, u, *shape[1:]) if rows.keys() & set(_WARP) else None,
            cutout=_cutout(rows["cutout"], u, *shape[1:]) if "cutout" in rows else None,
        )

    def _color(self, rows: Tensor, u: Tensor) -> Tensor:
        low = torch.tensor([-BRIGHTNESS / 2, 0.0, CONTRAST])
        width = torch.tensor([BRIGHTNESS, SATURATION, 1.0])
        used = torch.tensor([name in self.names for name in _COLOR])
        return torch.where(rows[:, None] & used, low + width * u, torch.tensor([0.0, 1.0, 1.0]))


def _warp(rows: dict[str, Tensor], u: Tensor, height: int, width: int) -> Tensor:
    """Affine maps (n, 2, 3) from uniforms `u` (n, 3); the identity outside the four groups."""
    warp = torch.eye(2, 3).repeat(len(u), 1, 1)
    if (row := rows.get("crop")) is not None:
        side = torch.tensor([width, height])
        reach = (side * CROP + 0.5).floor()
        # A whole number of pixels in -reach..reach; one pixel is 2 / side in [-1, 1].
        shift = (u[row, :2] * (2 * reach + 1)).floor().clamp(max=2 * reach) - reach
        warp[row, :, 2] = 2 * shift / side
    if (row := rows.get("flip")) is not None:
        warp[row, 0, 0] = 1 - 2 * (u[row, 0] < 0.5).float()
    if (row := rows.get("scale")) is not None:
        factor = 1 / SCALE + (SCALE - 1 / SCALE) * u[row, :2]
        warp[row, 0, 0], warp[row, 1, 1] = factor[:, 0], factor[:, 1]
    if (row := rows.get("rotate")) is not None:
        angle = math.radians(ROTATE) * (2 * u[row, 0] - 1)
        warp[row, 0, 0] = warp[row, 1, 1] = angle.cos()
        warp[row, 0, 1] = -angle.sin() * height / width  # a rotation of pixels, not of [-1, 1]
        warp[row, 1, 0] = angle.sin() * width / height
    return warp


def _cutout(rows: Tensor, u: Tensor, height: int, width: int) -> Tensor:
    """Squares (n, 4) around a uniform centre, cut by the border; empty outside `rows`."""
    side = torch.tensor([height, width])
    size = (side * CUTOUT + 0.5).floor()
    start = (u[:, :2] * side).floor().clamp(max=side - 1) - (size / 2).floor()
    cutout = torch.stack([start, start + size], dim=2).flatten(1)
    return torch.where(rows[:, None], cutout, 0.0).long()


def _recolor(x: Tensor, color: Tensor) -> Tensor:
    brightness, saturation, contrast = color[:, :, None, None, None].unbind(1)
    x = x + brightness
    if x.shape[1] > 1:
        x = x * saturation + x.mean(1, keepdim=True) * (1 - saturation)
    return x * contrast + x.mean((1, 2, 3), keepdim=True) * (1 - contrast)


def _rewarp(x: Tensor, warp: Tensor) -> Tensor:
    grid = F.affine_grid(warp, [len(warp), *x.shape[1:]], align_corners=False)
    moved = F.grid_sample(
        x, grid.expand(len(x), -1, -1, -1), padding_mode="zeros", align_corners=False
    )
    still = (warp == torch.eye(2, 3).to(warp)).flatten(1).all(1)
    return torch.where(still[:, None, None, None], x, moved)


def _inside(cutout: Tensor, height: int, width: int) -> Tensor:
    """Mask (n, 1, H, W) of the pixels in each square."""
    top, bottom, left, right = cutout[:, :, None].unbind(1)
    y = torch.arange(height, device=cutout.device)
    x = torch.arange(width, device=cutout.device)
    rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)
    return (rows[:, :, None] & columns[:, None, :])[:, None]
