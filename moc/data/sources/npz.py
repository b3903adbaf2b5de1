"""NumPy's .npz files."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
from numpy.lib.npyio import NpzFile
from typing_extensions import override

from moc.data.arrays import scaled, to_real
from moc.data.labels import class_labels
from moc.data.sources.base import Section, Source, UserPath
from moc.data.vault import RealData
from moc.errors import DataError

_NAMES: dict[Section, tuple[tuple[str, str], ...]] = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("x", "y")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
_WANTED = tuple(name for pairs in _NAMES.values() for pair in pairs for name in pair)
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error)


class Npz(Source):
    """An .npz file with `x_train`, `y_train`, `x_test`, `y_test`, or with `x` and `y` only.

    MedMNIST's names are read too: `train_images`, `train_labels`, `val_images`, and so on. Its
    validation part, or `x_val` and `y_val`, is left alone unless `[data]` says `validation_from`.

    Attributes:
        path: The file.
        range: Values that stand for 0 and 1, public: [0, 65535] for uint16, or what floats lie in.
            If left out, uint8 stands for 0..255 and floats lie in [0, 1].
    """

    kind: Literal["npz"] = "npz"
    path: UserPath
    range: tuple[float, float] | None = None

    @classmethod
    @override
    def guess(cls, path: Path) -> Source | None:
        if not path.is_file() or not is_zipfile(path):
            return None
        with ZipFile(path) as file:
            return cls(path=path) if any(n.endswith(".npy") for n in file.namelist()) else None

    @override
    def proposed(self) -> Source:
        x = [
            one
            for name, one in plain_arrays(self.path).items()
            if name[0] == "x" or "images" in name
        ]
        numbers = [one for one in x if one.size and one.dtype.kind in "iuf"]
        if self.range or not numbers or all(one.dtype == np.uint8 for one in numbers):
            return self
        low, high = min(float(x.min()) for x in numbers), max(float(x.max()) for x in numbers)
        floats = all(one.dtype.kind == "f" for one in numbers)
        as_it_is = floats and low >= 0 and high <= 1
        return self if as_it_is or not isfinite(high - low) else self.but(range=(low, high))

    @property
    @override
    def has_test(self) -> bool:
        return _holds(self.path, "test")

    @property
    @override
    def has_validation(self) -> bool:
        return _holds(self.path, "validation")

    @override
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        return load_npz(self.path, part=section, classes=classes, bounds=self.range)


def load_npz(
    path: Path,
    *,
    part: Section = "train",
    classes: tuple[str, ...] | None = None,
    bounds: tuple[float, float] | None = None,
) -> RealData:
    """Load one part of an .npz file with the arrays that `Npz` names.

    Records are (n, H, W), (n, H, W, C) or (n, C, H, W) images of 1 or 3 channels, or (n, D)
    vectors. Labels are in any form of `moc.data.labels`. Without `classes` the list of classes is
    read off the labels of all parts.

    Args:
        path: The file.
        part: `train`, `validation` or `test`; a file with `x` and `y` only has the first one.
        classes: Their names, if they are declared.
        bounds: Values that stand for 0 and 1, if they are declared.

    Raises:
        DataError: If the file cannot be read or does not hold such arrays.
    """
    arrays = plain_arrays(path)
    names = next((pair for pair in _NAMES[part] if not arrays.keys().isdisjoint(pair)), ("x", "y"))
    if names == ("x", "y") and part != "train":
        own = " and ".join(_NAMES[part][0])
        raise DataError(f"{path} has no {own}; load its train part and split that instead.")
    for name in names:
        if name not in arrays:
            raise DataError(
                f"Arrays x_train, y_train, x_test, y_test, or x and y, expected in {path}; "
                f"{name} is missing. Found: {', '.join(arrays) or 'none of these'}."
            )
    x, where = arrays[names[0]], str(path)
    held = [name for name in arrays if name[0] == "y" or name.endswith("labels")]
    labels, classes = class_labels([arrays[name] for name in held], where=where, classes=classes)
    y = labels[held.index(names[1])]
    return to_real(path.stem, scaled(x, bounds, where=where), y, classes=classes)


def _holds(path: Path, part: Section) -> bool:
    return any(name in plain_arrays(path) for pair in _NAMES[part] for name in pair)


def plain_arrays(path: Path, names: Sequence[str] = _WANTED) -> dict[str, np.ndarray]:
    """Those of the named arrays that an .npz file holds; no other is read.

    Raises:
        DataError: If there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise DataError(f"An .npz file expected at {path}, found no file.")
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, NpzFile):
            with file:
                return {name: _read(file, name, path) for name in names if name in file.files}
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as an .npz file of plain arrays; "
            "write it again with numpy.savez."
        ) from error
    raise DataError(f"{path} holds a single array; an .npz file with x and y expected.")


def _read(file: NpzFile, name: str, path: Path) -> np.ndarray:
    try:
        if isinstance(found := file[name], np.ndarray):
            return found
        raise ValueError(f"{name} is no array")
    except _UNREADABLE as error:
        if "Object arrays" in str(error):
            raise DataError(
                f"The array {name} of {path} holds Python objects (dtype object), which could run "
                f"code when they are read; save it as numbers or words: {name}.astype(str)."
            ) from error
        raise DataError(
            f"The array {name} of {path} cannot be read: it is damaged; write it again."
        ) from error
