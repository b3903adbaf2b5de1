"""Hugging Face data sets, from a folder on disk or by their name; needs the extra `hf`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import override

from moc.data.arrays import facts_of, scaled, to_real, to_records
from moc.data.labels import class_labels
from moc.data.sources.base import Section, Source, UserPath
from moc.data.sources.folder import check_alike, pixels_of, rule_for
from moc.data.streamed import Pieces, stream
from moc.data.vault import RealData
from moc.errors import DataError

_ON_DISK = ("dataset_dict.json", "dataset_info.json")
_SECTIONS: tuple[Section, ...] = ("train", "validation", "test")
_PIECE = 1000  # records of a streamed split that are read at once


class HuggingFace(Source):
    """A Hugging Face data set with splits `train`, and perhaps `validation` and `test`.

    Read by `datasets.load_from_disk`, or by `datasets.load_dataset`, which fetches what it lacks.
    Needs `pip install 'moc-condensation[hf]'`. A split of more than `memory` stays in its files and
    is read whenever it is summed, which gives the same sums; what needs single records of it is
    refused.

    Attributes:
        path: The folder that `save_to_disk` wrote.
        name: In place of it: the name on the Hub, such as `ylecun/mnist`.
        subset: With `name`: the configuration, where there are several.
        column: Of images or arrays; the only column of images, or `image`, if left out.
        label: Column of the labels; the only column of class labels, or `label`, if left out.
        size: Pixels a side, as for `folder`.
        colours: `grey` or `rgb`, likewise.
        range: Values of arrays that stand for 0 and 1, as for `npz`.
        memory: Gibibytes up to which a split, or a part of it, is loaded.
    """

    kind: Literal["huggingface"] = "huggingface"
    path: UserPath | None = None
    name: str | None = None
    subset: str | None = None
    column: str | None = None
    label: str | None = None
    size: int | None = Field(default=None, gt=0)
    colours: Literal["grey", "rgb"] | None = None
    range: tuple[float, float] | None = None
    memory: float = Field(default=4.0, ge=0)

    @model_validator(mode="after")
    def _one_place(self) -> HuggingFace:
        if (self.path is None) == (self.name is None):
            raise ValueError("either path, of a folder, or name, on the Hub, expected")
        return self

    @classmethod
    @override
    def guess(cls, path: Path) -> Source | None:
        return cls(path=path) if any((path / name).is_file() for name in _ON_DISK) else None

    @override
    def proposed(self) -> Source:
        splits = self._splits()
        features = next(iter(splits.values())).features
        column = self.column or _only(features, "Image")
        if column is None or type(features.get(column)).__name__ != "Image":
            return self
        held = [
            split.select_columns([column]) for split in splits.values() if column in split.features
        ]
        images = [row[column] for split in held for row in split]
        size, colours = rule_for({one.size for one in images}, {one.mode for one in images})
        return self.but(size=self.size or size, colours=self.colours or colours)

    @property
    @override
    def has_test(self) -> bool:
        return "test" in self._splits()

    @property
    @override
    def has_validation(self) -> bool:
        return "validation" in self._splits()

    @override
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        splits = self._splits()
        if section not in splits:
            raise DataError(f"A split {section!r} expected in {self._where}, found none.")
        features = splits[section].features
        label = self.label or _only(features, "ClassLabel") or "label"
        column = self.column or _only(features, "Image") or "image"
        for name in (label, column):
            if name not in features:
                raise DataError(
                    f"A column {name!r} expected in {self._where}, found {', '.join(features)}. "
                    'Say which ones hold records and labels: column = "NAME", label = "NAME".'
                )
        held = [name for name in _SECTIONS if name in splits]
        numbered, classes = class_labels(
            [np.asarray(splits[name][label]) for name in held],
            where=self._where,
            classes=classes or tuple(getattr(features[label], "names", ())) or None,
        )
        split, y = splits[section].select_columns([column]), numbered[held.index(section)]
        title, memory = (self.path or Path(self.name or "")).name, int(self.memory * 2**30)
        one = self.arrays(split.select(range(1)), column) if len(split) else np.empty(0)
        if one.nbytes * len(split) <= memory:
            return to_real(title, self.arrays(split, column), y, classes=classes)
        like = to_records(one, where=self._where, whole=False)
        info = facts_of(title, like, count=len(split), classes=classes)
        pieces = _Rows(split, self, column)
        return stream(info, pieces, torch.from_numpy(y).long(), memory=memory)

    def arrays(self, split: Any, column: str, first: int = 0) -> np.ndarray:  # noqa: ANN401
        """Images (n, H, W) or (n, H, W, 3), or arrays as they are; errors count from `first`."""
        where = f"{self._where}: {column!r}"
        if type(split.features[column]).__name__ != "Image":
            try:
                return scaled(
                    np.asarray(split.with_format("numpy")[column]), self.range, where=where
                )
            except (ValueError, TypeError) as error:
                raise DataError(f"{where}: arrays of one shape expected.") from error
        found: list[np.ndarray] = []
        for number, row in enumerate(split, first):
            one = f"{where}, record {number}"
            found.append(pixels_of(row[column], one, size=self.size, colours=self.colours))
            check_alike(found[0], found[-1], one)
        return np.stack(found)

    @property
    def _where(self) -> str:
        return str(self.path or self.name)

    def _splits(self) -> dict[str, Any]:
        """The splits by their name; a data set without any is `train`."""
        if self.path is not None and not any((self.path / name).is_file() for name in _ON_DISK):
            raise DataError(
                f"A folder that datasets' save_to_disk wrote expected at {self.path}, found none."
            )
        datasets = _datasets()
        try:
            found = (
                datasets.load_dataset(self.name, self.subset)
                if self.path is None
                else datasets.load_from_disk(str(self.path))
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{self._where} cannot be read as a data set: {why}") from error
        return dict(found) if isinstance(found, dict) else {"train": found}


class _Rows(Pieces):
    """A split in pieces of so many rows, in the files that hold all of it."""

    def __init__(self, split: Any, source: HuggingFace, column: str) -> None:  # noqa: ANN401
        """Read rows of a split that has this column alone."""
        self._split, self._source, self._column = split, source, column
        self._files = [Path(one["filename"]) for one in split.cache_files]
        starts = range(0, len(split), _PIECE)
        super().__init__([min(_PIECE, len(split) - start) for start in starts], self._files)

    @override
    def name(self, number: int) -> str:
        return f"{self._source.path or self._source.name}, records from {number * _PIECE}"

    @override
    def files(self, number: int) -> Sequence[Path]:
        return self._files

    @override
    def _load(self, number: int) -> Tensor:
        start = number * _PIECE
        rows = self._split.select(range(start, start + self.counts[number]))
        x = self._source.arrays(rows, self._column, start)
        return to_records(x, where=self.name(number), whole=False)


def _only(features: Any, kind: str) -> str | None:  # noqa: ANN401
    """The column of this kind, if there is one and no other."""
    named = [name for name, one in features.items() if type(one).__name__ == kind]
    return named[0] if len(named) == 1 else None


def _datasets() -> Any:  # noqa: ANN401 - the package is optional
    try:
        datasets = import_module("datasets")
    except ImportError:
        raise DataError(
            "Hugging Face data sets are read by the package `datasets`, which is not installed: "
            "type pip install 'moc-condensation[hf]', or pip install datasets."
        ) from None
    datasets.disable_progress_bars()
    return datasets
