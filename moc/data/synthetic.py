"""S: a synthetic set, and the decoder that turns what is stored into training records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from moc.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from moc.data.real import DataInfo


_NOISE_SEED = 220_514_959  # the noise of copies is a public constant


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """What is stored, turned into training records: tiles, and copies under public noise.

    Multi-formation (IDC, arXiv 2205.14959): each stored image holds factor x factor training
    images. Copies: each of these appears `copies` times, once as it is and else with `noise` added
    or subtracted in every pixel, at random but the same for everybody, and cut to [0, 1]; all with
    one label. Networks that are trained plainly on the copies hold still under small changes of
    single pixels, which is worth several points of robustness. None of it costs stored pixels.

    Attributes:
        factor: Tiles per side; 1 stores training images as they are.
        copies: Training records for each tile.
        noise: Size of the noise in units of the pixel range [0, 1].
    """

    factor: int = 1
    copies: int = 1
    noise: float = 0.2

    @property
    def tiles(self) -> int:
        """Training images in each stored one, before they are copied: factor**2."""
        return self.factor**2

    @property
    def count(self) -> int:
        """Training records for each stored one: tiles * copies."""
        return self.tiles * self.copies

    @property
    def is_trivial(self) -> bool:
        """Whether training records are what is stored."""
        return self.count == 1

    def __call__(self, x: Tensor) -> Tensor:
        """Decode (..., M, C, H, W) into (..., M, count, C, H, W), all copies of a tile in a row.

        Sets that are stacked along leading axes meet the same noise. Vectors (..., M, D), at most
        three axes in all, have no tiles and become (..., M, copies, D). Differentiable in `x`.

        Raises:
            DataError: If vectors are to be cut into tiles.
        """
        tiles = self._tiles(x)
        if self.copies == 1:
            return tiles
        axis = tiles.dim() - (3 if x.dim() >= 4 else 1)
        noise = _signs(self.copies - 1, tuple(tiles.shape[axis - 2 :])).to(tiles.device)
        noisy = (tiles.unsqueeze(axis) + self.noise * noise).clamp(0.0, 1.0)
        return torch.cat([tiles.unsqueeze(axis), noisy], dim=axis).flatten(axis - 1, axis)

    def _tiles(self, x: Tensor) -> Tensor:
        """Cut into tiles and enlarge each: (..., M, factor**2, C, H, W)."""
        is_image = x.dim() >= 4
        if self.factor == 1:
            return x.unsqueeze(-4 if is_image else -2)
        if not is_image:
            raise self._needs_images(x)
        *lead, c, h, w = x.shape
        rows = [r * h // self.factor for r in range(self.factor + 1)]
        cols = [r * w // self.factor for r in range(self.factor + 1)]
        tiles = [
            F.interpolate(
                x[..., rows[i] : rows[i + 1], cols[j] : cols[j + 1]].reshape(
                    -1, c, rows[i + 1] - rows[i], cols[j + 1] - cols[j]
                ),
                size=(h, w),
                mode="bilinear",
                align_corners=False,
            ).reshape(*lead, c, h, w)
            for i in range(self.factor)
            for j in range(self.factor)
        ]
        return torch.stack(tiles, dim=-4)

    def pack(self, x: Tensor) -> Tensor:
        """Shrink training images (M * factor**2, C, H, W) into M stored ones; copies need none.

        Raises:
            DataError: If the factor is above 1 and these are vectors.
        """
        if self.factor == 1:
            return x
        if x.dim() != 4:
            raise self._needs_images(x)
        tiles = x.unflatten(0, (-1, self.tiles))
        h, w = x.shape[-2:]
        packed = x.new_zeros(len(tiles), *x.shape[1:])
        for tile in range(self.tiles):
            i, j = divmod(tile, self.factor)
            rows = slice(i * h // self.factor, (i + 1) * h // self.factor)
            columns = slice(j * w // self.factor, (j + 1) * w // self.factor)
            size = (rows.stop - rows.start, columns.stop - columns.start)
            packed[..., rows, columns] = F.interpolate(tiles[:, tile], size=size, mode="area")
        return packed

    def _needs_images(self, x: Tensor) -> DataError:
        return DataError(
            f"Decoding by a factor of {self.factor} needs images, found records of shape "
            f"{tuple(x.shape[-1:])}; use the factor 1 for feature vectors."
        )


AS_STORED = Decoder()
"""Training records are what is stored."""


@lru_cache(maxsize=4)
def _signs(copies: int, shape: tuple[int, ...]) -> Tensor:
    """Signs ±1 for `copies` of tiles (M, tiles, *record): (M, tiles, copies, *record)."""
    generator = torch.Generator().manual_seed(_NOISE_SEED)
    full = (*shape[:2], copies, *shape[2:])
    return torch.randint(2, full, generator=generator).mul(2.0).sub(1.0)


@dataclass(frozen=True, kw_only=True)
class SyntheticSet:
    """M stored records with their labels.

    Attributes:
        info: Public facts about the data set that S stands for (`info.count` is T's).
        x: Stored records (M, *shape), float32 in [0, 1].
        labels: Label distribution of each stored record (M, classes); rows sum to one.
        decoder: Turns stored records into training records.
    """

    info: DataInfo
    x: Tensor
    labels: Tensor
    decoder: Decoder = AS_STORED

    def __post_init__(self) -> None:
        """Check shapes, range and label rows."""
        if tuple(self.x.shape[1:]) != tuple(self.info.shape):
            raise DataError(
                f"A synthetic set of records {self.info.shape} expected, "
                f"found {tuple(self.x.shape[1:])}."
            )
        if self.labels.shape != (len(self.x), len(self.info.classes)):
            raise DataError(
                f"Labels of shape {(len(self.x), len(self.info.classes))} expected, "
                f"found {tuple(self.labels.shape)}."
            )
        if len(self.x) == 0:
            raise DataError("A synthetic set of at least one record expected, found none.")
        if not torch.isfinite(self.x).all() or self.x.min() < 0 or self.x.max() > 1:
            raise DataError("Synthetic records must be finite and lie in [0, 1].")
        if not torch.allclose(self.labels.sum(1), self.labels.new_ones(len(self.x)), atol=1e-4):
            raise DataError("Each label row of a synthetic set must sum to one.")

    def __len__(self) -> int:
        """Return the number of stored records M."""
        return len(self.x)

    def training_records(self) -> tuple[Tensor, Tensor]:
        """Decode: records (M * decoder.count, *shape) and label distributions (same, c)."""
        count = self.decoder.count
        return self.decoder(self.x).flatten(0, 1), self.labels.repeat_interleave(count, dim=0)


def one_hot(y: Tensor, classes: int) -> Tensor:
    """Return float32 one-hot rows (n, classes) of integer labels (n,)."""
    return F.one_hot(y, classes).to(torch.float32)


def balanced_index(labels: Tensor, y: Tensor, classes: tuple[str, ...], *, seed: int) -> Tensor:
    """Places (m,) of records of the wanted classes `y` (m,), drawn without replacement.

    Args:
        labels: Classes of the records there are (n,).
        y: The class wanted at each place.
        classes: Their names, for the error.
        seed: Public seed of the order in which records are taken.

    Raises:
        DataError: If a class has too few records.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    index = torch.empty(len(y), dtype=torch.int64)
    for k, name in enumerate(classes):
        of_class = order[labels[order] == k]
        wanted = int((y == k).sum())
        if len(of_class) < wanted:
            raise DataError(
                f"Class {name!r} has {len(of_class)} records; {wanted} are needed to start from. "
                "Ask for fewer images a class."
            )
        index[y == k] = of_class[:wanted]
    return index


def balanced_labels(per_class: int, classes: int) -> Tensor:
    """Return labels (classes * per_class,) in class order: 0, 0, ..., 1, 1, ..."""
    return torch.arange(classes).repeat_interleave(per_class)
