"""IDX files: the format of MNIST and of everything made to replace it."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from typing_extensions import override

from moc.data.arrays import to_real
from moc.data.labels import class_labels
from moc.data.sources.base import Section, Source, UserPath
from moc.data.vault import RealData
from moc.errors import DataError

_PREFIXES: dict[Section, str] = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTE = b"\x00\x00\x08"


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """Published constants of a well-known data set."""

    classes: tuple[str, ...]
    mean: float
    std: float
    mirrored: bool


_KNOWN = {
    "mnist": _Facts(classes=tuple("0123456789"), mean=0.1307, std=0.3081, mirrored=False),
    "fashion_mnist": _Facts(
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        mean=0.2861,
        std=0.3530,
        mirrored=True,
    ),
}


_PUBLISHED = ("classes", "mean", "std")
_RECORDS: dict[Section, int] = {"train": 60_000, "test": 10_000}  # of both


class Idx(Source):
    """A folder of IDX files, gzipped or not, with `train` and `t10k` files.

    Attributes:
        path: The folder.
    """

    kind: Literal["idx"] = "idx"
    path: UserPath

    @classmethod
    @override
    def guess(cls, path: Path) -> Source | None:
        found = any((path / name).is_file() for name in _names("train", "images"))
        return cls(path=path) if found and cls is Idx else None

    @property
    @override
    def has_test(self) -> bool:
        return True

    @override
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        return load_idx(self.path, part=section, classes=classes)


class Mnist(Idx):
    """MNIST (LeCun et al., 1998), with its published classes and constants."""

    kind: Literal["mnist"] = "mnist"
    published: ClassVar = _PUBLISHED
    records: ClassVar = _RECORDS

    @override
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        return load_idx(self.path, part=section, name="mnist")


class FashionMnist(Source):
    """Fashion-MNIST (arXiv 1708.07747), with its published classes and constants.

    Attributes:
        path: The folder of IDX files; looked for in the usual places if left out.
    """

    kind: Literal["fashion_mnist"] = "fashion_mnist"
    path: UserPath | None = None
    published: ClassVar = _PUBLISHED
    records: ClassVar = _RECORDS

    @property
    @override
    def has_test(self) -> bool:
        return True

    @override
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        return load_idx(self.folder, part=section, name="fashion_mnist")

    @property
    @override
    def folder(self) -> Path:
        return self.path or find_fashion_mnist()


def load_idx(
    folder: Path,
    *,
    part: Section = "train",
    name: str | None = None,
    classes: tuple[str, ...] | None = None,
) -> RealData:
    """Load one part of a data set of the MNIST family from its folder.

    Args:
        folder: Holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same with
            `t10k`; gzipped or not, and with `.idx` instead of `-idx` if need be.
        part: `train`, or `test` for the `t10k` files.
        name: `mnist` and `fashion_mnist` bring their published classes and constants (arXiv
            1708.07747 for the latter). Other names, and None for the folder's own, get classes
            numbered after the labels of both parts, and mean and standard deviation 0.5.
        classes: Their names, if they are declared and not published.

    Raises:
        DataError: If a file is missing, truncated or not an IDX file of unsigned bytes, or images
            and labels do not fit each other.
    """
    if part not in _PREFIXES:
        raise DataError(f"IDX files have a train and a test part; found {part!r}.")
    images, labels = (read_idx(_find(folder, part, kind)) for kind in ("images", "labels"))
    facts = _KNOWN.get(name or "")
    if name is None or facts is None:
        labels, classes = _numbered(folder, part, classes)
        return to_real(name or folder.resolve().name, images, labels, classes=classes)
    return to_real(
        name,
        images,
        labels,
        classes=facts.classes,
        mean=facts.mean,
        std=facts.std,
        mirrored=facts.mirrored,
    )


def find_fashion_mnist() -> Path:
    """Return the folder of Fashion-MNIST on this machine.

    Looked at in turn: `$MOC_DATA/fashion-mnist`, `$MOC_DATA`, `./data/fashion-mnist`,
    `~/.cache/moc/fashion-mnist`, `/usr/share/datasets/fashion-mnist` (where Debian puts it).

    Raises:
        DataError: If none of them holds it.
    """
    places = [
        Path("data/fashion-mnist"),
        Path("~/.cache/moc/fashion-mnist").expanduser(),
        Path("/usr/share/datasets/fashion-mnist"),
    ]
    if root := os.environ.get("MOC_DATA"):
        places = [Path(root) / "fashion-mnist", Path(root), *places]
    for place in places:
        if any((place / name).is_file() for name in _names("train", "images")):
            return place
    raise DataError(
        f"Fashion-MNIST expected in one of {', '.join(map(str, places))}; found in none. "
        "Install it (on Debian: apt-get install dataset-fashion-mnist), set MOC_DATA, or name its "
        "folder as the path of the data in the study file."
    )


def read_idx(path: Path) -> np.ndarray:
    """Read one IDX file of unsigned bytes, gzipped or not, into a uint8 array.

    Raises:
        DataError: If it cannot be read, is of another type, or is shorter or longer than it says.
    """
    raw = _read_bytes(path)
    if len(raw) < 4 or raw[:3] != _UNSIGNED_BYTE:
        raise DataError(
            f"An IDX file of unsigned bytes expected at {path}; it begins with other bytes. "
            "Fetch it again."
        )
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise DataError(f"{path} is truncated: it ends within its header. Fetch it again.")
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    if len(raw) - start != math.prod(shape):
        raise DataError(
            f"{path} declares an array of shape {shape}, {math.prod(shape)} bytes, but holds "
            f"{len(raw) - start}. Fetch it again."
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is truncated or cannot be read. Fetch it again.") from error


def _numbered(
    folder: Path, part: Section, classes: tuple[str, ...] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of one part, numbered after the classes of both."""
    held: dict[Section, np.ndarray] = {}
    for one in _PREFIXES:
        paths = [folder / name for name in _names(one, "labels")]
        if path := next((path for path in paths if path.is_file()), None):
            held[one] = read_idx(path)
    labels, classes = class_labels(list(held.values()), where=str(folder), classes=classes)
    return dict(zip(held, labels, strict=True))[part], classes


def _names(part: Section, kind: str) -> list[str]:
    rank = 3 if kind == "images" else 1
    stems = [f"{_PREFIXES[part]}-{kind}{mark}idx{rank}-ubyte" for mark in "-."]
    return [stem + end for stem in stems for end in ("", ".gz")]


def _find(folder: Path, part: Section, kind: str) -> Path:
    if not folder.is_dir():
        raise DataError(f"A folder of IDX files expected at {folder}, found none.")
    for name in _names(part, kind):
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"The {kind} of the {part} part expected in {folder}, "
        f"found none of {', '.join(_names(part, kind))}."
    )
