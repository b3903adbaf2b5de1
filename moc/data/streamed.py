"""Records that lie in files and are read when they are needed, one file after the other.

Sums over them are those of the same records in memory, to the last bit. What stays in memory is an
index: a place, a label and two digests of each, about 100 bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from moc.data.arrays import require_bright
from moc.data.declared import DataInfo
from moc.data.vault import RealData, Records, check, sealed
from moc.errors import DataError


class Read(Protocol):
    """What reads a file."""

    def __call__(self, path: Path, /) -> Tensor:
        """Its records (n, *shape), uint8 or float32."""
        ...


class Pieces(ABC):
    """Records in pieces, each of them read whole; the last one that was read is kept.

    Attributes:
        counts: Number of records in each.
    """

    def __init__(self, counts: Sequence[int], files: Sequence[Path]) -> None:
        """Note what the files are like now: none may change while they are worked on."""
        self.counts = tuple(counts)
        self._states = {path: _state(path) for path in files}
        self._last: tuple[int, Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: no record."""
        return {**self.__dict__, "_last": None}

    @abstractmethod
    def name(self, number: int) -> str:
        """What to call a piece in an error."""

    @abstractmethod
    def files(self, number: int) -> Sequence[Path]:
        """Those that a piece lies in."""

    @abstractmethod
    def _load(self, number: int) -> Tensor:
        """The records of a piece, from its files."""

    def read(self, number: int) -> Tensor:
        """The records of a piece.

        Raises:
            DataError: If it is not as it was.
        """
        if self._last is None or self._last[0] != number:
            self._last = None  # before the next one is there
            for path in self.files(number):
                if _state(path) != self._states[path]:
                    raise _changed(str(path))
            x = self._load(number)
            if len(x) != self.counts[number]:
                raise _changed(self.name(number))
            self._last = (number, x)
        return self._last[1]

    def rows(self, places: Tensor, like: Tensor) -> Tensor:
        """Records (n, *shape) at these places among all, in this order."""
        ends = torch.tensor(self.counts).cumsum(0)
        pieces = torch.bucketize(places, ends, right=True)
        x = like.new_empty(len(places), *like.shape[1:])
        for number in pieces.unique().tolist():
            here = pieces == number
            x[here] = self.read(number)[places[here] - int(ends[number] - self.counts[number])]
        return x


class Files(Pieces):
    """Files of records, each of them a piece."""

    def __init__(self, paths: Sequence[Path], counts: Sequence[int], read: Read) -> None:
        """Read them by `read`."""
        self._paths, self._read = tuple(path.resolve() for path in paths), read
        super().__init__(counts, self._paths)

    @override
    def name(self, number: int) -> str:
        return str(self._paths[number])

    @override
    def files(self, number: int) -> Sequence[Path]:
        return (self._paths[number],)

    @override
    def _load(self, number: int) -> Tensor:
        return self._read(self._paths[number])


class Streamed(Records):
    """Records of which only an index is in memory."""

    streamed: ClassVar[bool] = True
    pieces: Pieces
    like: Tensor
    memory: int
    index: _Index

    def __init__(
        self, pieces: Pieces, *, like: Tensor, y: Tensor, memory: int, index: _Index
    ) -> None:
        """Know where records are.

        Args:
            pieces: That hold them.
            like: None of them (0, *shape), for shape and type.
            y: Labels (n,), int64.
            memory: Bytes up to which a part is loaded.
            index: Places and digests.
        """
        fields = {"pieces": pieces, "like": like, "y": y, "memory": memory, "index": index}
        self.__dict__.update(fields)

    @property
    @override
    def x(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise DataError(
            f"These {len(self.y)} records are streamed, since they take {self.size / 2**30:.3g} "
            f"GiB and the source loads at most memory = {self.memory / 2**30:g}. What reads single "
            "records needs them in memory: sums of them do not."
        )

    @property
    @override
    def size(self) -> int:
        return len(self.y) * self.like.shape[1:].numel() * self.like.element_size()

    @override
    def part(self, index: slice | Tensor) -> Streamed:
        return Streamed(**{**self.__dict__, "y": self.y[index], "index": self.index.part(index)})

    @override
    def divided(self, index: Tensor) -> Records:
        part = self.part(index)
        # Those that stay in their files are read in the order of these, since sums have none.
        return part.loaded() if part.size <= self.memory else self.part(index.sort().values)

    @override
    def loaded(self) -> Records:
        return Records(x=self.pieces.rows(self.index.places, self.like), y=self.y)

    @override
    def sent(self) -> Streamed:
        return self

    @override
    def digests(self, *, labelled: bool = True) -> list[bytes]:
        found = self.index.labelled if labelled else self.index.plain
        return [row.tobytes() for row in found]


class _Index:
    """Places (n,) of records among all that lie in the files, and their digests (n, 32) each."""

    def __init__(self, places: Tensor, labelled: np.ndarray, plain: np.ndarray) -> None:
        self.places, self.labelled, self.plain = places, labelled, plain

    def part(self, index: slice | Tensor) -> _Index:
        rows = index if isinstance(index, slice) else index.numpy()
        return _Index(self.places[index], self.labelled[rows], self.plain[rows])


def stream(info: DataInfo, pieces: Pieces, y: Tensor, *, memory: int) -> RealData:
    """Check records piece by piece, and seal them: loaded, or streamed if they are more than that.

    Args:
        info: What is declared public about them.
        pieces: That hold them.
        y: Labels of all, in their order.
        memory: Bytes up to which they, or a part of them, are loaded.

    Raises:
        DataError: If they are not as declared, or not alike.
    """
    labelled, plain, start, like = list[bytes](), list[bytes](), 0, torch.empty(0)
    brightest = 0
    for number, count in enumerate(pieces.counts):
        x, own = pieces.read(number), y[start : start + count]
        like = x[:0].clone() if number == 0 else like
        if x.dtype != like.dtype:
            raise DataError(
                f"{pieces.name(number)}: {like.dtype} records as in {Path(pieces.name(0)).name} "
                f"expected, found {x.dtype}."
            )
        check(replace(info, count=count), x, own)
        brightest = max(brightest, int(x.max()))
        part = Records(x=x, y=own)
        labelled.append(b"".join(part.digests(labelled=True)))
        plain.append(b"".join(part.digests(labelled=False)))
        start += count
    if like.dtype == torch.uint8:
        require_bright(brightest, where=info.name)
    digests = [np.frombuffer(b"".join(one), np.uint8).reshape(-1, 32) for one in (labelled, plain)]
    index = _Index(torch.arange(len(y)), *digests)
    records = Streamed(pieces, like=like, y=y, memory=memory, index=index)
    return sealed(info, records.divided(index.places))


def _changed(what: str) -> DataError:
    return DataError(f"{what} has changed since its records were counted: begin again.")


def _state(path: Path) -> tuple[int, int]:
    """What changes when a file is written."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns
