"""The lines of a data set's ledger, at one or more places that make up for each other."""

from __future__ import annotations

import fcntl
import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from moc.errors import PrivacyError
from moc.lines import from_line, to_line
from moc.privacy.access import Access, Budget
from moc.privacy.disk import sync

_DIGEST = 8  # bytes; of two sets of 10^6 records, one in 10^7 pairs agrees by chance

Digests = frozenset[bytes]
"""What `RealData.digests` says of records."""


@dataclass(frozen=True, kw_only=True)
class Spending:
    """One draw, or one reading without noise.

    Attributes:
        draw: Unique; a draw that is written again under this name is the same one.
        study: Name of the study.
        data: Key of the records that were private to it.
        delta: Of the study's budget.
        when: Time of it.
        access: What was done.
    """

    draw: str
    study: str
    data: str
    delta: float
    when: str
    access: Access


class Spendings:
    """What stands in the files: an event that stands in several of them is one.

    Attributes:
        draws: Every spending by its draw.
    """

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        """Read open files; `add` needs them open for writing.

        Raises:
            PrivacyError: If a line is damaged; a torn last one never happened.
        """
        self.draws: dict[str, Spending] = {}
        self._records: dict[str, Digests] = {}
        self._budgets: dict[str, tuple[str, str, Budget]] = {}
        self._explained: list[tuple[BinaryIO, set[str]]] = []  # keys of data that a file explains
        for file in files:
            self._explained.append((file, set()))
            for number, line in enumerate(_whole(file).splitlines(keepends=True), start=1):
                try:
                    self._apply(from_line(line, summed=False))
                except (ValueError, TypeError, KeyError, AttributeError):
                    raise PrivacyError(
                        f"Line {number} of {file.name} is not an event of a privacy ledger. What "
                        "has been spent on the data set is unknown: restore the file first."
                    ) from None

    def of(self, records: Digests) -> tuple[Spending, ...]:
        """All that was done to data sets that share a record with these, in order."""
        touched = self._touched(records)
        return tuple(one for one in self.draws.values() if one.data in touched)

    def budget(self, records: Digests) -> Budget | None:
        """The last one that was declared for data that share a record with these."""
        touched = self._touched(records)
        found = sorted((one for one in self._budgets.values() if one[1] in touched), key=_when)
        return found[-1][2] if found else None

    def add(self, records: Digests, event: dict[str, Any]) -> None:
        """Write an event about records to every file."""
        raw = b"".join(sorted(records))
        key = hashlib.sha256(raw).hexdigest()[:32]
        when = self._later(datetime.now(UTC)).isoformat(timespec="microseconds")
        for file, explained in self._explained:
            if key not in explained:
                data = {"event": "data", "data": key, "records": b64encode(raw).decode()}
                _append(file, data)
            _append(file, {**event, "data": key, "when": when})

    def _later(self, now: datetime) -> datetime:
        """Now, or right after the last event if the clock was set back: what is newer counts."""
        known = [one.when for one in self.draws.values()]
        known += [when for when, _, _ in self._budgets.values()]
        last = max((datetime.fromisoformat(when) for when in known), default=now)
        return max(now, last + timedelta(microseconds=1)) if known else now

    def _apply(self, event: dict[str, Any]) -> None:
        kind, key = event.pop("event"), event["data"]
        if kind == "data":
            raw = b64decode(event["records"], validate=True)
            chunks = (raw[i : i + _DIGEST] for i in range(0, len(raw), _DIGEST))
            self._records[key] = frozenset(chunks)
            self._explained[-1][1].add(key)
        elif kind == "spent":
            access = event.pop("access")
            access["ladder"] = tuple(access["ladder"])
            self.draws.setdefault(event["draw"], Spending(**event, access=Access(**access)))
        elif kind == "budget":
            budget = Budget(epsilon=event["epsilon"], delta=event["delta"])
            self._budgets[event["id"]] = (event["when"], key, budget)
        else:
            raise ValueError(kind)

    def _touched(self, records: Digests) -> set[str]:
        """Keys of the data sets that have a record in common with these."""
        return {key for key, known in self._records.items() if not records.isdisjoint(known)}


def spent(access: Access, *, draw: str, study: str, delta: float) -> dict[str, Any]:
    """The event of a draw."""
    fields = {"draw": draw, "study": study, "delta": delta, "access": asdict(access)}
    return {"event": "spent", **fields}


def declared(budget: Budget) -> dict[str, Any]:
    """The event of a budget."""
    return {"event": "budget", "id": uuid4().hex, **asdict(budget)}


@contextmanager
def opened(places: Sequence[Path], *, write: bool) -> Iterator[Spendings]:
    """What stands at these places; to write, they are made if need be, and nobody else may.

    Raises:
        PrivacyError: If one cannot be opened.
    """
    with ExitStack() as stack:
        files = []
        for path in sorted(places):
            try:
                if write:
                    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                files.append(stack.enter_context(_open(path, write=write)))
            except FileNotFoundError:
                continue  # only to read: nothing was spent there
            except OSError as error:
                raise PrivacyError(
                    f"The privacy ledger of the data set at {path} cannot be opened "
                    f"({error.strerror}), so that what was spent is unknown. Name a file for it "
                    "with MOC_LEDGER, or as `ledger` in [privacy]."
                ) from None
            if write:
                fcntl.flock(files[-1], fcntl.LOCK_EX)
        yield Spendings(files)


def _open(path: Path, *, write: bool) -> BinaryIO:
    """A file for its owner alone."""

    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    return open(path, "a+b", opener=private) if write else open(path, "rb")


def _when(budget: tuple[str, str, Budget]) -> str:
    return budget[0]


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    raw = file.read()
    return raw[: raw.rfind(b"\n") + 1]


def _append(file: BinaryIO, event: dict[str, Any]) -> None:
    """Write a line in place of a torn last one, and wait for the disk."""
    size = len(_whole(file))
    file.truncate(size)
    file.write(to_line(event))
    file.flush()
    os.fsync(file.fileno())
    if not size:
        sync(Path(file.name).parent)
