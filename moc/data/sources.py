"""The one door to real data: a source by its name, as a study file gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moc.data.arrays import Part, load_npz
from moc.data.digits import load_digits
from moc.data.folder import load_folder
from moc.data.idx import find_fashion_mnist, load_idx
from moc.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from moc.data.real import RealData

SOURCES = ("digits", "fashion_mnist", "mnist", "idx", "npz", "folder")
"""The names that `load` knows."""


def load(source: str, *, path: Path | None = None, part: str = "train") -> RealData:
    """Load and seal one part of a data set.

    Args:
        source: One of `SOURCES`.
        path: The folder of `idx`, `mnist` or `folder`, or the file of `npz`; `fashion_mnist` is
            looked for in its usual places if there is no path; `digits` has none.
        part: `train` or `test`. `digits` and `folder` have no test part.

    Raises:
        DataError: If the source, the part or the path is not one that can be loaded, or the data
            are not as the source's own loader describes.
    """
    chosen = _part(part)
    path = path and path.expanduser()
    if source == "digits":
        if path is not None:
            raise DataError(f"The source 'digits' is built in; remove its path {path}.")
        _refuse_test(source, chosen)
        return load_digits()
    if source == "fashion_mnist":
        return load_idx(path or find_fashion_mnist(), part=chosen, name=source)
    if source not in SOURCES:
        raise DataError(f"A source among {', '.join(SOURCES)} expected, found {source!r}.")
    if path is None:
        raise DataError(f"The source {source!r} needs a path; name it in the study file.")
    if source == "npz":
        return load_npz(path, part=chosen)
    if source == "folder":
        _refuse_test(source, chosen)
        return load_folder(path)
    return load_idx(path, part=chosen, name="mnist" if source == "mnist" else None)


def _part(part: str) -> Part:
    if part == "train":
        return "train"
    if part == "test":
        return "test"
    raise DataError(f"The part 'train' or 'test' expected, found {part!r}.")


def _refuse_test(source: str, part: Part) -> None:
    if part == "test":
        raise DataError(
            f"The source {source!r} has no test part; load its train part and split that instead."
        )
