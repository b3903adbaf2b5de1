"""S: a synthetic set, and the decoder that turns what is stored into training records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from moc.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from moc.data.real import DataInfo


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Multi-formation: each stored image holds factor x factor training images (IDC, 2205.14959).

    Attributes:
        factor: Tiles per side; 1 stores training images as they are.
    """

    factor: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        """Cut (..., M, C, H, W) into tiles, enlarge each to H x W: (..., M, factor**2, C, H, W).

        With factor 1 the tile axis has length one, and vectors (..., M, D), at most three axes in
        all, become (..., M, 1, D). Differentiable in `x`.

        Raises:
            DataError: If vectors are to be cut into tiles.
        """
        is_image = x.dim() >= 4
        if self.factor == 1:
            return x.unsqueeze(-4 if is_image else -2)
        if not is_image:
            raise DataError(
                f"Decoding by a factor of {self.factor} needs images, found records of shape "
                f"{tuple(x.shape[-1:])}; use the factor 1 for feature vectors."
            )
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
        """Shrink training images (M * factor**2, C, H, W) into M stored ones."""
        if self.factor == 1:
            return x
        tiles = x.unflatten(0, (-1, self.factor**2))
        h, w = x.shape[-2:]
        packed = x.new_zeros(len(tiles), *x.shape[1:])
        for tile in range(self.factor**2):
            i, j = divmod(tile, self.factor)
            rows = slice(i * h // self.factor, (i + 1) * h // self.factor)
            columns = slice(j * w // self.factor, (j + 1) * w // self.factor)
            size = (rows.stop - rows.start, columns.stop - columns.start)
            packed[..., rows, columns] = F.interpolate(
                tiles[:, tile], size=size, mode="bilinear", antialias=True
            )
        return packed.clamp(0.0, 1.0)


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
    decoder: Decoder = Decoder()

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
        """Decode: records (M * factor**2, *shape) and label distributions (M * factor**2, c)."""
        tiles = self.decoder(self.x)
        copies = tiles.shape[1]
        return tiles.flatten(0, 1), self.labels.repeat_interleave(copies, dim=0)


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
