"""CIFAR-10 and CIFAR-100 as they are published: Python pickles, of which no code is run."""

from __future__ import annotations

import pickle
from abc import ABC
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from moc.data.arrays import to_real
from moc.data.labels import class_labels
from moc.data.sources.base import Section, Source, UserPath
from moc.data.vault import RealData
from moc.errors import DataError

_DAMAGED = (
    pickle.UnpicklingError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    MemoryError,
    OverflowError,
)


class _Cifar(Source, ABC):
    files: ClassVar[dict[Section, tuple[str, ...]]]
    meta: ClassVar[str]
    names: ClassVar[bytes]
    labels: ClassVar[bytes]
    published: ClassVar[tuple[str, ...]] = ("classes", "mean", "std")
    records: ClassVar[dict[Section, int]] = {"train": 50_000, "test": 10_000}
    constants: ClassVar[tuple[float, float]]
    path: UserPath

    @classmethod
    @override
    def guess(cls, path: Path) -> Source | None:
        wanted = (cls.meta, *cls.files["train"])
        found = all((path / name).is_file() for name in wanted)
        return cls.model_validate({"path": path}) if found else None

    @property
    @override
    def has_test(self) -> bool:
        return True

    @override
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        names = [name.decode() for name in _table(self.path / self.meta, self.names, list)]
        tables = [self.path / name for name in self.files[section]]
        x = np.concatenate([_table(path, b"data", np.ndarray) for path in tables])
        y = np.concatenate([np.array(_table(path, self.labels, list)) for path in tables])
        if x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != 3072:
            raise DataError(
                f"Images (n, 3072) of bytes expected in {self.path}, found {x.dtype} {x.shape}; "
                "fetch the Python version of the data again."
            )
        classes = tuple(names)
        numbers = tuple(map(str, range(len(classes))))
        (labels,), _ = class_labels([y], where=str(self.path), classes=numbers)
        mean, std = self.constants
        x = x.reshape(-1, 3, 32, 32)
        return to_real(self.kind, x, labels, classes=classes, mean=mean, std=std, mirrored=True)


class Cifar10(_Cifar):
    """CIFAR-10 (Krizhevsky, 2009), the Python version, unpacked.

    Its pickles are read without running anything that they may contain.

    Attributes:
        path: The folder `cifar-10-batches-py`.
    """

    kind: Literal["cifar10"] = "cifar10"
    files: ClassVar = {
        "train": tuple(f"data_batch_{k}" for k in range(1, 6)),
        "test": ("test_batch",),
    }
    meta: ClassVar = "batches.meta"
    names: ClassVar = b"label_names"
    labels: ClassVar = b"labels"
    constants: ClassVar = (0.4734, 0.2516)


class Cifar100(_Cifar):
    """CIFAR-100 (Krizhevsky, 2009) with its 100 fine classes, the Python version, unpacked.

    Attributes:
        path: The folder `cifar-100-python`.
    """

    kind: Literal["cifar100"] = "cifar100"
    files: ClassVar = {"train": ("train",), "test": ("test",)}
    meta: ClassVar = "meta"
    names: ClassVar = b"fine_label_names"
    labels: ClassVar = b"fine_labels"
    constants: ClassVar = (0.4782, 0.2682)


def _table(path: Path, key: bytes, form: type) -> Any:  # noqa: ANN401
    """One entry of a pickled dictionary."""
    if not path.is_file():
        raise DataError(f"A file of CIFAR's Python version expected at {path}, found none.")
    try:
        with path.open("rb") as file:
            table = _ArraysOnly(file, encoding="bytes").load()
        found = table[key] if key in table else table[key.decode()]
    except _Refused as error:
        raise DataError(
            f"{path} is a pickle that asks for {error}, which arrays of bytes never do; it was "
            "not run. Fetch the data again, or save them from where you trust them with "
            'numpy.savez and use kind = "npz".'
        ) from None
    except _DAMAGED as error:
        raise DataError(
            f"{path} is not a file of CIFAR's Python version, or is damaged; fetch it again."
        ) from error
    if not isinstance(found, form):
        raise DataError(f"{path}: {key.decode()} of another form expected; fetch it again.")
    return [_bytes(one) for one in found] if isinstance(found, list) else found


def _bytes(value: object) -> object:
    return value.encode() if isinstance(value, str) else value


class _Refused(Exception):
    """What a pickle asked for."""


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds containers and arrays of bytes; refuses every other name before it is looked up."""

    @override
    def find_class(self, module_name: str, global_name: str, /) -> object:
        name = f"{module_name}.{global_name}"
        if name not in _ALLOWED:
            raise _Refused(name)
        return _ALLOWED[name]


def _bytes_dtype(code: str | bytes, *_: object) -> np.dtype[Any]:
    if code not in ("u1", b"u1", "|u1", b"|u1"):
        raise _Refused("arrays of anything but bytes")
    return np.dtype(np.uint8)


def _latin1(text: str, code: str) -> bytes:
    """How Python 3 writes bytes into pickles that Python 2 can read."""
    if code not in ("latin1", b"latin1"):
        raise _Refused(f"the encoding {code}")
    return text.encode("latin1")


_rebuild: Callable[..., object] = np.ndarray((0,)).__reduce__()[0]  # pyright: ignore[reportAssignmentType]
_ALLOWED: dict[str, object] = {
    "numpy.core.multiarray._reconstruct": _rebuild,
    "numpy._core.multiarray._reconstruct": _rebuild,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": _bytes_dtype,
    "_codecs.encode": _latin1,
}
