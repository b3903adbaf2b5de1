"""NumPy's .npz files."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from typing_extensions import override

from moc.data.arrays import numbered_classes, to_labels, to_real
from moc.data.sources.base import Section, Source, UserPath
from moc.data.vault import RealData
from moc.errors import DataError

_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error)


class Npz(Source):
    """An .npz file with `x_train`, `y_train`, `x_test`, `y_test`, or with `x` and `y` only.

    Attributes:
        path: The file.
    """

    kind: Literal["npz"] = "npz"
    path: UserPath

    @property
    @override
    def has_test(self) -> bool:
        return not {"x_test", "y_test"}.isdisjoint(_arrays(self.path))

    @override
    def read(self, section: Section) -> RealData:
        return load_npz(self.path, part=section)


def load_npz(path: Path, *, part: Section = "train") -> RealData:
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
    arrays = _arrays(path)
    suffix = f"_{part}" if {f"x_{part}", f"y_{part}"} & arrays.keys() else ""
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


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(f"An .npz file expected at {path}, found no file.")
    wanted = ("x_train", "y_train", "x_test", "y_test", "x", "y")
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, NpzFile):
            with file:
                return {name: _read(file, name, path) for name in wanted if name in file.files}
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as an .npz file of plain arrays; "
            "write it again with numpy.savez."
        ) from error
    raise DataError(f"{path} holds a single array; an .npz file with x and y expected.")


def _read(file: NpzFile, name: str, path: Path) -> np.ndarray:
    try:
        return file[name]
    except _UNREADABLE as error:
        raise DataError(
            f"The array {name} of {path} cannot be read: it is damaged, or holds Python objects; "
            "write it again as an array of numbers."
        ) from error
