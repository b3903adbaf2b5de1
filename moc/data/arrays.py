"""Labelled arrays: from NumPy, as every source reads them, to sealed records."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moc.data.declared import DataInfo
from moc.data.vault import RealData
from moc.errors import DataError

_CHANNELS = (1, 3)
_ROUNDING = 1e-5  # what resizing in float32 leaves outside [0, 1] at most


def to_real(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    classes: tuple[str, ...],
    mean: float = 0.5,
    std: float = 0.5,
    mirrored: bool = False,
) -> RealData:
    """Check labelled arrays and seal them.

    Args:
        name: Name of the data set.
        x: Records in one of the layouts of `moc.data.sources.npz`.
        y: Integer labels (n,) or (n, 1).
        classes: Names of the classes.
        mean: Public normalisation mean, the same for every channel.
        std: Public normalisation standard deviation, likewise.
        mirrored: Whether a horizontal flip keeps an image in its class.

    Raises:
        DataError: If anything is not as described, or fewer than two classes have records.
    """
    where = f"Data set {name!r}"
    records, labels = to_records(x, where=where), to_labels(y, where=where)
    present = len(labels.unique())
    if present < 2:
        found = "only one" if present else "no label"
        raise DataError(f"{where}: records of at least two classes expected, found {found}.")
    info = facts_of(
        name, records, count=len(records), classes=classes, mean=mean, std=std, mirrored=mirrored
    )
    return RealData(info=info, x=records, y=labels)


def facts_of(
    name: str,
    records: Tensor,
    *,
    count: int,
    classes: tuple[str, ...],
    mean: float = 0.5,
    std: float = 0.5,
    mirrored: bool = False,
) -> DataInfo:
    """Public facts about `count` records of the shape of these (n, *shape); else as `to_real`."""
    shape = tuple(records.shape[1:])
    channels = shape[0] if len(shape) == 3 else 1
    return DataInfo(
        name=name,
        shape=shape,
        classes=classes,
        count=count,
        mean=(mean,) * channels,
        std=(std,) * channels,
        mirrored=mirrored,
    )


def require_bright(brightest: int, *, where: str) -> None:
    """Refuse bytes that stand for 0 and 1, by the largest of all records.

    Raises:
        DataError: If it is 1.
    """
    if brightest == 1:
        raise DataError(
            f"{where}: uint8 records stand for 0..255, and none of these exceeds 1, so that they "
            "would be read as black; save them as booleans, or as floats in [0, 1]."
        )


def to_records(x: np.ndarray, *, where: str, whole: bool = True) -> Tensor:
    """Bring records to (n, C, H, W) or (n, D), uint8 or float32.

    Booleans become 0 and 1, and floats that rounding left outside [0, 1] are clamped.

    Args:
        x: The records.
        where: What to call them in an error.
        whole: Whether these are all of a data set, so that one of them is bright.

    Raises:
        DataError: If layout or type of number are none that `moc.data.sources.npz` describes.
    """
    if x.dtype == np.bool_:
        x = x.astype(np.float32)
    if whole and x.size and x.dtype == np.uint8:
        require_bright(int(x.max()), where=where)
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise DataError(
            f"{where}: bool or uint8 records, or floats in [0, 1], expected, found {x.dtype}; "
            "convert them."
        )
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise DataError(
            f"{where}: records (n, H, W), (n, H, W, C), (n, C, H, W) or (n, D) expected, "
            f"found an array of shape {x.shape}."
        )
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim == 4:
        x = _channels_first(x, where=where)
    if x.dtype == np.uint8:
        return torch.from_numpy(np.array(x, order="C"))
    with np.errstate(over="ignore"):  # out of range either way, which RealData reports
        values = torch.from_numpy(np.array(x, dtype=np.float32, order="C"))
    near = (values > -_ROUNDING) & (values < 1 + _ROUNDING)
    return torch.where(near, values.clamp(0, 1), values)


def scaled(x: np.ndarray, bounds: tuple[float, float] | None, *, where: str) -> np.ndarray:
    """Bring values from a declared range to [0, 1]; as they are if none is declared.

    Raises:
        DataError: If the range is empty, values lie outside, or they need one and have none.
    """
    if bounds is None:
        if x.dtype.kind in "iu" and x.dtype != np.uint8:
            raise DataError(
                f"{where}: found {x.dtype}, which does not say which values are black and white; "
                "declare them, such as range = [0, 4095] or [0, 65535]."
            )
        return x
    low, high = bounds
    if not low < high:
        raise DataError(f"{where}: range = [LOW, HIGH] expected, found [{low:g}, {high:g}].")
    if x.dtype.kind not in "iufb":
        raise DataError(f"{where}: records of numbers expected, found {x.dtype}.")
    x = x.astype(np.float32)
    slack = 1e-5 * (high - low)  # what rounding leaves outside
    if not bool(((x >= low - slack) & (x <= high + slack)).all()):
        raise DataError(
            f"{where}: values in the declared range [{low:g}, {high:g}] expected, found others."
        )
    return ((x - np.float32(low)) / np.float32(high - low)).clip(0, 1)


def _channels_first(x: np.ndarray, *, where: str) -> np.ndarray:
    first, last = x.shape[1] in _CHANNELS, x.shape[3] in _CHANNELS
    if first == last:
        raise DataError(
            f"{where}: images of 1 or 3 channels, (n, H, W, C) or (n, C, H, W), expected; the "
            f"shape {x.shape} does not say which axis that is. Save them as (n, H, W) or resize."
        )
    return x if first else x.transpose(0, 3, 1, 2)


def to_labels(y: np.ndarray, *, where: str) -> Tensor:
    """Bring integer labels (n,) or (n, 1) to int64 (n,).

    Raises:
        DataError: If the labels are not integers, or not one for each record.
    """
    if y.dtype.kind not in "iu":
        raise DataError(f"{where}: integer labels 0, 1, ... expected, found {y.dtype}.")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(
            f"{where}: one label a record, shape (n,), expected, found shape {y.shape}."
        )
    return torch.from_numpy(y.astype(np.int64))
