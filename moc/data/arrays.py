"""Labelled arrays: from NumPy, as every source reads them, to sealed records; and .npz files."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Literal
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.lib.npyio import NpzFile

from moc.data.real import DataInfo, RealData
from moc.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

Part = Literal["train", "test"]

_CHANNELS = (1, 3)


def load_npz(path: Path, *, part: Part = "train") -> RealData:
    """Load an .npz file with `x_train`, `y_train`, `x_test`, `y_test`, or with `x` and `y` only.

    Records are (n, H, W), (n, H, W, C) or (n, C, H, W) images of 1 or 3 channels, or (n, D)
    vectors; uint8, or floats in [0, 1]. Labels are integers 0, 1, ... The list of classes is read
    off the labels of all parts, so it counts as public, as does the number of records.

    Args:
        path: The file.
        part: `train` or `test`; a file with `x` and `y` only has no test part.

    Raises:
        DataError: If the file cannot be read or does not hold such arrays.
    """
    arrays = _read_npz(path)
    suffix = f"_{part}" if f"x_{part}" in arrays else ""
    if not suffix and part == "test":
        raise DataError(
            f"{path} has no x_test and y_test; load its train part and split that instead."
        )
    for name in (f"x{suffix}", f"y{suffix}"):
        if name not in arrays:
            raise DataError(
                f"Arrays x_train, y_train, x_test, y_test, or x and y, expected in {path}; "
                f"{name} is missing. Found: {', '.join(arrays) or 'none of these'}."
            )
    labels = [to_labels(y, where=str(path)) for name, y in arrays.items() if name[0] == "y"]
    return to_real(
        path.stem,
        arrays[f"x{suffix}"],
        arrays[f"y{suffix}"],
        classes=numbered_classes(labels, where=str(path)),
    )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(f"An .npz file expected at {path}, found no file.")
    wanted = ("x_train", "y_train", "x_test", "y_test", "x", "y")
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, NpzFile):
            with file:
                return {name: file[name] for name in wanted if name in file.files}
    except (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read as an .npz file of plain arrays; "
            "write it again with numpy.savez."
        ) from error
    raise DataError(f"{path} holds a single array; an .npz file with x and y expected.")


def numbered_classes(labels: Sequence[Tensor], *, where: str) -> tuple[str, ...]:
    """Name classes "0", "1", ... after integer labels.

    Args:
        labels: Labels of every part of the data set, so that all parts agree on the classes.
        where: What to call the data set in an error.

    Raises:
        DataError: If there are no labels, or the numbers used are not 0..k-1 for some k.
    """
    used = torch.cat([*labels, torch.empty(0, dtype=torch.int64)]).unique().tolist()
    if used != list(range(len(used))) or not used:
        shown = ", ".join(map(str, used[:10])) + (", ..." if len(used) > 10 else "")
        raise DataError(
            f"{where}: labels numbered 0, 1, 2, ... without a gap expected, "
            f"found {shown or 'no label'}; number the classes from 0."
        )
    return tuple(map(str, used))


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
        x: Records in one of the layouts of `load_npz`.
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
    present = labels.unique().tolist()
    if len(present) < 2:
        found = f"only label {present[0]}" if present else "no label"
        raise DataError(f"{where}: records of at least two classes expected, found {found}.")
    shape = tuple(records.shape[1:])
    channels = shape[0] if len(shape) == 3 else 1
    info = DataInfo(
        name=name,
        shape=shape,
        classes=classes,
        count=len(records),
        mean=(mean,) * channels,
        std=(std,) * channels,
        mirrored=mirrored,
    )
    return RealData(info=info, x=records, y=labels)


def to_records(x: np.ndarray, *, where: str) -> Tensor:
    """Bring records to (n, C, H, W) or (n, D), uint8 or float32; values are not changed.

    Raises:
        DataError: If the layout or the type of number is none that `load_npz` describes.
    """
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise DataError(
            f"{where}: uint8 records, or floats in [0, 1], expected, found {x.dtype}; convert them."
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
    dtype = np.uint8 if x.dtype == np.uint8 else np.float32
    with np.errstate(over="ignore"):  # out of range either way, which RealData reports
        return torch.from_numpy(np.array(x, dtype=dtype, order="C"))


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
