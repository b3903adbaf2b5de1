"""A folder of files that together are more than memory holds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor
from typing_extensions import override

from moc.data.arrays import facts_of, scaled, to_records
from moc.data.labels import class_labels
from moc.data.sources.base import Section, Source, UserPath
from moc.data.sources.npz import plain_arrays
from moc.data.streamed import Files, stream
from moc.data.vault import RealData
from moc.errors import DataError

_FOLDERS: dict[Section, str] = {"train": "train", "validation": "val", "test": "test"}
_ENDS = (".npz", ".safetensors")


class Shards(Source):
    """A folder of .npz or .safetensors files, each with arrays `x` and `y`; read one by one.

    Or such folders `train` and `test`, and perhaps `val`. Files of some 100 MB are read best: one
    at a time is in memory. A part of more than `memory` stays in its files and is read whenever it
    is summed, which gives the same sums; what needs single records of it is refused.

    Attributes:
        path: The folder.
        memory: Gibibytes up to which a part, such as validation records, is loaded.
        range: Values that stand for 0 and 1, as for `npz`.
    """

    kind: Literal["shards"] = "shards"
    path: UserPath
    memory: float = Field(default=4.0, ge=0)
    range: tuple[float, float] | None = None

    @classmethod
    @override
    def guess(cls, path: Path) -> Source | None:
        return cls(path=path) if path.is_dir() and cls(path=path).files("train") else None

    @property
    @override
    def has_test(self) -> bool:
        return bool(self.files("test"))

    @property
    @override
    def has_validation(self) -> bool:
        return bool(self.files("validation"))

    def files(self, section: Section) -> list[Path]:
        """The files of a section, in the order of their names."""
        home = self.path / _FOLDERS[section]
        if section == "train" and not home.is_dir():
            home = self.path
        return sorted(one for one in home.glob("*") if one.suffix in _ENDS)

    @override
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        paths = self.files(section)
        if not paths:
            raise DataError(f".npz or .safetensors files expected at {self.path}, found none.")
        held = {one: _array(one, "y") for part in _FOLDERS for one in self.files(part)}
        labels, classes = class_labels(list(held.values()), where=str(self.path), classes=classes)
        numbers = dict(zip(held, labels, strict=True))
        files = Files(
            paths, [len(numbers[one]) for one in paths], partial(_records, bounds=self.range)
        )
        name, count = self.path.resolve().name, sum(files.counts)
        info = facts_of(name, files.read(0), count=count, classes=classes)
        y = torch.from_numpy(np.concatenate([numbers[one] for one in paths]))
        return stream(info, files, y, memory=int(self.memory * 2**30))


def _records(path: Path, *, bounds: tuple[float, float] | None) -> Tensor:
    x = scaled(_array(path, "x"), bounds, where=str(path))
    return to_records(x, where=str(path), whole=False)


def _array(path: Path, name: str) -> np.ndarray:
    """One array of a file.

    Raises:
        DataError: If it cannot be read, or has none of this name.
    """
    try:
        arrays = plain_arrays(path, (name,)) if path.suffix == ".npz" else load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read; write it again.") from error
    if name not in arrays:
        raise DataError(f"Arrays x and y expected in {path}, found no {name}.")
    return arrays[name]
