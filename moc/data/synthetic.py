"""S: a synthetic set of stored records with their labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from moc.data.declared import DataInfo
from moc.data.decoder import AS_STORED, Decoder
from moc.errors import DataError


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
        if self.x.numel() == 0:
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


def bytes_of(synthetic: SyntheticSet) -> int:
    """Bytes that a set takes: records and soft labels as float32, hard labels as one byte each."""
    hard = bool((synthetic.labels.amax(1) == 1).all())
    labels = len(synthetic) if hard else 4 * synthetic.labels.numel()
    return 4 * synthetic.x.numel() + labels
