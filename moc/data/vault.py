"""T: a real data set whose records only the privacy stage can read.

`unseal` is for this module, which divides sealed records, and for `moc.privacy.ledger`, which
counts every access; `tests/test_architecture.py` says so. Nothing else in moc can reach a record
of T.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NoReturn
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from moc.data.declared import DataInfo
from moc.errors import DataError, PrivacyError


@dataclass(frozen=True, kw_only=True)
class Records:
    """The records: `x` (n, *shape), uint8 in 0..255 or float32 in [0, 1]; `y` (n,) int64.

    Attributes:
        streamed: Whether they lie in files, so that they are only ever summed.
    """

    streamed: ClassVar[bool] = False
    x: Tensor
    y: Tensor

    @property
    def size(self) -> int:
        """Bytes of `x`."""
        return self.x.numel() * self.x.element_size()

    def part(self, index: slice | Tensor) -> Records:
        """Some of them, by place."""
        return Records(x=self.x[index], y=self.y[index])

    def divided(self, index: Tensor) -> Records:
        """Some of them, for a part of a data set that is to stand by itself."""
        return self.part(index)

    def loaded(self) -> Records:
        """The same in memory."""
        return self

    def sent(self) -> Records:
        """The same, without others that lie in the same memory."""
        return Records(x=self.x.clone(), y=self.y.clone())

    def digests(self, *, labelled: bool = True) -> list[bytes]:
        """SHA-256 of every record, with its label if so asked, values counted to 16 bits."""
        digests, rows = [], max(2**20 // max(self.x[:1].numel(), 1), 1)
        for x, y in zip(self.x.split(rows), self.y.split(rows), strict=True):
            values = (as_unit(x).double() * 65535).round().to(torch.int32).flatten(1).numpy()
            for row, label in zip(values, y.tolist(), strict=True):
                prefix = b"%d " % label if labelled else b""
                digests.append(hashlib.sha256(prefix + row.tobytes()).digest())
        return digests


class RealData:
    """Records of T, checked once and then sealed: only `moc.privacy` can read them again.

    Attributes:
        info: What is declared public about the records.
    """

    __slots__ = ("__weakref__", "info")
    info: DataInfo

    def __init__(self, *, info: DataInfo, x: Tensor, y: Tensor) -> None:
        """Check and seal `x` (n, *info.shape), uint8 or float in [0, 1], with labels `y` (n,)."""
        y = y.to(torch.int64)
        check(info, x, y)
        self.info = info
        x = x if x.dtype == torch.uint8 else x.to(torch.float32)
        seal(self, Records(x=x.contiguous(), y=y.contiguous()))

    def __len__(self) -> int:
        """Return the declared number of records."""
        return self.info.count

    def __repr__(self) -> str:
        return f"RealData({self.info.name!r}, {self.info.count} sealed records)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Sealed records cannot be copied out of the process that loaded them.")

    def split(self, sizes: Sequence[int], *, seed: int) -> tuple[RealData, ...]:
        """Split into disjoint parts of the given sizes, in an order fixed by content and seed.

        Records are put in the order of their digests under the seed, which is as good as random.
        Neither the order of the file nor the form of its values counts, copies of a record come
        together, and where one is added or removed those behind it move by one place: all else
        stays in its part.

        Args:
            sizes: Number of records in each part; their sum may be less than N.
            seed: Public seed of the order.

        Raises:
            DataError: If more records are asked for than there are.
        """
        if sum(sizes) > self.info.count:
            raise DataError(
                f"The parts {list(sizes)} of {self.info.name} need {sum(sizes)} records; "
                f"there are {self.info.count}. Ask for smaller parts."
            )
        records = _divided(self)
        keys = [hashlib.sha256(b"%d " % seed + one).digest() for one in records.digests()]
        order = torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), dtype=torch.int64)
        chunks = order[: sum(sizes)].split(list(sizes))
        return tuple(
            sealed(replace(self.info, count=len(chunk)), records.divided(chunk)) for chunk in chunks
        )

    def fingerprint(self) -> str:
        """SHA-256 of what the records are: the same whatever their order, file or stored form.

        Values count to 16 bits, so that `v` of 255 as a byte and as a float are one value. Whoever
        has a candidate for T can confirm it with this, so it stays where T's owner keeps T.
        """
        digests = sorted(unseal(self).digests())
        shape = ",".join(map(str, self.info.shape))
        return hashlib.sha256(shape.encode() + b"".join(digests)).hexdigest()

    def digests(self) -> frozenset[bytes]:
        """A short digest of every record, whatever its label, to compare data sets by."""
        return frozenset(one[:8] for one in unseal(self).digests(labelled=False))

    def thinned(self, kept: Tensor, *, declared: int) -> RealData:
        """What is left when records are removed: their places stay empty.

        Args:
            kept: Which records stay (n,), bool.
            declared: What to declare as their number: a constant, whatever was removed.
        """
        records = _divided(self)
        left = records.part(kept.nonzero()[:, 0])
        return sealed(replace(self.info, count=declared), left)

    def described(self, info: DataInfo) -> RealData:
        """The same records under other public facts, of the same shape and number."""
        return sealed(info, _divided(self))


def sealed(info: DataInfo, records: Records) -> RealData:
    """Records that were checked before, sealed."""
    data = object.__new__(RealData)
    data.info = info
    seal(data, records)
    return data


def copies(parts: Mapping[str, RealData]) -> dict[str, Tensor]:
    """Which records (n,), bool, of each part stand in a part before it, whatever their label.

    In the first part, T, also those that are copies of one before them.
    """
    found, seen = dict[str, Tensor](), set[bytes]()
    for name, data in parts.items():
        rows, before = [], set(seen)
        for one in unseal(data).digests(labelled=False):
            rows.append(one in (before if found else seen))
            seen.add(one)
        found[name] = torch.tensor(rows, dtype=torch.bool)
    return found


_VAULT: WeakKeyDictionary[RealData, Records] = WeakKeyDictionary()
_OWNED: WeakKeyDictionary[RealData, bool] = WeakKeyDictionary()  # and whether they may be divided


def seal(data: RealData, records: Records) -> None:
    """Put records behind `data`. Each `RealData` is sealed once."""
    if data in _VAULT:
        raise RuntimeError("These records are sealed already.")
    _VAULT[data] = records


def unseal(data: RealData) -> Records:
    """Return the records behind `data`. The caller answers to the ledger for it."""
    return _VAULT[data]


def take(data: RealData, *, divisible: bool) -> None:
    """Give records to a ledger, for good: no other can have them, nor this one twice.

    Args:
        data: The records.
        divisible: Whether parts may still be made of them, which have no owner.

    Raises:
        PrivacyError: If they have an owner.
    """
    if data in _OWNED:
        raise PrivacyError(
            f"A ledger owns these records of {data.info.name!r} already, and no other may open "
            "them, nor the same one under another name. Load them again for a study of their own."
        )
    _OWNED[data] = divisible


def _divided(data: RealData) -> Records:
    if not _OWNED.get(data, True):
        raise PrivacyError(
            f"A private ledger owns these records of {data.info.name!r}, so they stay together. "
            "Divide them first."
        )
    return unseal(data)


def check(info: DataInfo, x: Tensor, y: Tensor) -> None:
    """Refuse records that are not as they are declared.

    Raises:
        DataError: With what is wrong.
    """
    where = f"Data set {info.name!r}"
    if len(x) != len(y):
        raise DataError(f"{where}: {len(x)} records but {len(y)} labels; each record needs one.")
    if len(x) != info.count:
        raise DataError(
            f"{where}: declared count is {info.count}, but {len(x)} records were given."
        )
    if tuple(x.shape[1:]) != tuple(info.shape):
        raise DataError(
            f"{where}: records of shape {info.shape} expected, found {tuple(x.shape[1:])}."
        )
    if len(info.classes) < 2:
        raise DataError(f"{where}: at least two classes expected, found {len(info.classes)}.")
    if len(y) and (int(y.min()) < 0 or int(y.max()) >= len(info.classes)):
        raise DataError(
            f"{where}: labels in 0..{len(info.classes) - 1} expected, found others; number the "
            "classes from 0, or declare those that are missing."
        )
    if x.dtype == torch.uint8:
        return
    if not torch.is_floating_point(x):
        raise DataError(f"{where}: uint8 or float records expected, found {x.dtype}.")
    if not torch.isfinite(x).all():
        raise DataError(f"{where}: records contain NaN or infinity; remove or impute them first.")
    if len(x) and not bool(((x >= 0) & (x <= 1)).all()):
        raise DataError(
            f"{where}: values in [0, 1] expected, found others; scale them with public constants, "
            "and clamp what rounding left outside, first."
        )


def as_unit(x: Tensor) -> Tensor:
    """Records as float32 in [0, 1], whichever of the two stored forms they have."""
    return x.float() / 255 if x.dtype == torch.uint8 else x
