"""The decoder of a synthetic set: what is stored, turned into training records."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from moc.errors import DataError

_NOISE_SEED = 220_514_959  # the noise of copies is a public constant


class Decoder(BaseModel):
    """What is stored, turned into training records: tiles, and copies under public noise.

    Multi-formation (IDC, arXiv 2205.14959): each stored image holds f x f training
    images. Noise copies: each of these appears `noise_copies` times, once as it is and else with
    `noise` added or subtracted in every pixel, at random but the same for everybody, and cut to
    [0, 1]; all with one label. Networks that are trained plainly on the copies hold still under
    small changes of single pixels. None of it costs stored pixels.

    Attributes:
        multi_formation: Tiles per side, the factor of IDC; 1 stores training images as they are.
        noise_copies: Training records for each tile.
        noise: Size of the noise in units of the pixel range [0, 1].
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    multi_formation: int = Field(default=1, gt=0)
    noise_copies: int = Field(default=1, gt=0)
    noise: float = Field(default=0.2, gt=0, le=1)

    @property
    def tiles(self) -> int:
        """Training images in each stored one, before they are copied: f²."""
        return self.multi_formation**2

    @property
    def count(self) -> int:
        """Training records for each stored one: tiles * noise_copies."""
        return self.tiles * self.noise_copies

    @property
    def is_trivial(self) -> bool:
        """Whether training records are what is stored."""
        return self.count == 1

    def __call__(self, x: Tensor) -> Tensor:
        """Decode (..., M, C, H, W) into (..., M, count, C, H, W), all copies of a tile in a row.

        Sets that are stacked along leading axes meet the same noise. Vectors (..., M, D), at most
        three axes in all, have no tiles and become (..., M, noise_copies, D). Differentiable.

        Raises:
            DataError: If vectors, or images with fewer pixels a side, are to be cut into tiles.
        """
        tiles = self._tiles(x)
        if self.noise_copies == 1:
            return tiles
        axis = tiles.dim() - (3 if x.dim() >= 4 else 1)
        noise = _signs(self.noise_copies - 1, tuple(tiles.shape[axis - 2 :])).to(tiles.device)
        noisy = (tiles.unsqueeze(axis) + self.noise * noise).clamp(0.0, 1.0)
        return torch.cat([tiles.unsqueeze(axis), noisy], dim=axis).flatten(axis - 1, axis)

    def _tiles(self, x: Tensor) -> Tensor:
        """Cut into tiles and enlarge each: (..., M, f², C, H, W)."""
        is_image = x.dim() >= 4
        if self.multi_formation == 1:
            return x.unsqueeze(-4 if is_image else -2)
        self._check_can_cut(x, is_image=is_image)
        *lead, c, h, w = x.shape
        rows = [r * h // self.multi_formation for r in range(self.multi_formation + 1)]
        cols = [r * w // self.multi_formation for r in range(self.multi_formation + 1)]
        tiles = [
            F.interpolate(
                x[..., rows[i] : rows[i + 1], cols[j] : cols[j + 1]].reshape(
                    -1, c, rows[i + 1] - rows[i], cols[j + 1] - cols[j]
                ),
                size=(h, w),
                mode="bilinear",
                align_corners=False,
            ).reshape(*lead, c, h, w)
            for i in range(self.multi_formation)
            for j in range(self.multi_formation)
        ]
        return torch.stack(tiles, dim=-4)

    def pack(self, x: Tensor) -> Tensor:
        """Shrink training images (M * f², C, H, W) into M stored ones; copies need none.

        Raises:
            DataError: If the factor is above 1 and these are vectors or images smaller than it.
        """
        if self.multi_formation == 1:
            return x
        self._check_can_cut(x, is_image=x.dim() == 4)
        tiles = x.unflatten(0, (-1, self.tiles))
        h, w = x.shape[-2:]
        packed = x.new_zeros(len(tiles), *x.shape[1:])
        for tile in range(self.tiles):
            i, j = divmod(tile, self.multi_formation)
            rows = slice(i * h // self.multi_formation, (i + 1) * h // self.multi_formation)
            columns = slice(j * w // self.multi_formation, (j + 1) * w // self.multi_formation)
            size = (rows.stop - rows.start, columns.stop - columns.start)
            packed[..., rows, columns] = F.interpolate(tiles[:, tile], size=size, mode="area")
        return packed

    def _check_can_cut(self, x: Tensor, *, is_image: bool) -> None:
        if not is_image:
            raise DataError(
                f"Decoding by a factor of {self.multi_formation} needs images, found records of "
                f"shape {tuple(x.shape[-1:])}; use the factor 1 for feature vectors."
            )
        if min(x.shape[-2:]) < self.multi_formation:
            raise DataError(
                f"Decoding by a factor of {self.multi_formation} needs images of at least as many "
                f"pixels a side, found {x.shape[-2]} x {x.shape[-1]}; use a smaller factor."
            )


AS_STORED = Decoder()
"""Training records are what is stored."""


@lru_cache(maxsize=4)
def _signs(copies: int, shape: tuple[int, ...]) -> Tensor:
    """Signs ±1 for `copies` of tiles (M, tiles, *record): (M, tiles, copies, *record)."""
    generator = torch.Generator().manual_seed(_NOISE_SEED)
    full = (*shape[:2], copies, *shape[2:])
    return torch.randint(2, full, generator=generator).mul(2.0).sub(1.0)
