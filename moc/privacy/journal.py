"""What has been paid for, finished and used, kept in a file of one JSON object a line."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moc.errors import PrivacyError
from moc.lines import from_line, to_line
from moc.privacy.access import Access
from moc.privacy.disk import sync


class Journal:
    """The events of one writer; an event counts once it is on the disk.

    Reading changes nothing, so that others may look while the writer works.

    Attributes:
        accesses: What was paid for, by key, in order.
        finished: Keys of what was drawn and stored.
        begun: Names of the draws that an access was begun with, by key.
        draws: Names of all draws.
        used: How many mechanisms of an access have been used, by key.
        data: Fingerprints of the records that everything is about, by name; None if not known.
    """

    def __init__(self, path: Path | None) -> None:
        """Take up the events at `path`, or keep them in memory only.

        A torn last line is left out: whoever wrote it was killed before acting on it.

        Raises:
            PrivacyError: If a line is damaged.
        """
        self.accesses: dict[str, Access] = {}
        self.finished: set[str] = set()
        self.begun: dict[str, list[str]] = {}
        self.draws: set[str] = set()
        self.used: dict[str, int] = {}
        self.data: dict[str, str] | None = None
        self._path = path
        self._size = 0  # bytes of the whole lines that this object knows
        if path is not None and path.exists():
            self._read(path)

    def reserve(self, access: Access) -> None:
        """Note that an access is paid for."""
        self._add({"event": "reserved", **asdict(access)})

    def begin(self, key: str, draw: str) -> None:
        """Note that the noise of an access is about to be drawn."""
        self._add({"event": "begun", "key": key, "draw": draw})

    def finish(self, key: str) -> None:
        """Note that what an access bought is stored."""
        self._add({"event": "finished", "key": key})

    def use(self, key: str, draw: str) -> None:
        """Note that one mechanism of an access is used."""
        self._add({"event": "used", "key": key, "draw": draw})

    def hold(self, data: dict[str, str]) -> None:
        """Note which records everything is about."""
        self._add({"event": "data", "key": "data", "data": data})

    def _add(self, event: dict[str, Any]) -> None:
        line = to_line(event)
        if self._path is not None:
            self._append(self._path, line)
        self._apply(from_line(line))

    def _append(self, path: Path, line: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab", opener=lambda name, how: os.open(name, how, 0o600)) as file:
            if b"\n" in path.read_bytes()[self._size :]:
                raise PrivacyError(
                    f"Another process wrote to {path}. Let only one work on a study."
                )
            file.truncate(self._size)  # drop a torn line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if not self._size:
            sync(path.parent)
        self._size += len(line)

    def _read(self, path: Path) -> None:
        raw = path.read_bytes()
        self._size = raw.rfind(b"\n") + 1
        lines = raw[: self._size].splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                self._apply(from_line(line, summed=False))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise PrivacyError(
                    f"Line {number} of {path} is not an event of a privacy ledger, or was changed. "
                    "What has been spent is unknown, so the study cannot go on: bring the file "
                    "back from a copy."
                ) from None

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        self.draws |= {event["draw"]} if "draw" in event else set()
        key = event["key"]
        if kind == "reserved":
            event["ladder"] = tuple(event["ladder"])
            self.accesses[key] = Access(**event)
        elif kind == "begun":
            self.begun.setdefault(key, []).append(event["draw"])
        elif kind == "finished":
            self.finished.add(key)
        elif kind == "used":
            self.used[key] = self.used.get(key, 0) + 1
        elif kind == "data":
            self.data = dict(event["data"])
        else:
            raise ValueError(kind)
