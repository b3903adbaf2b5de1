"""The ledger of a study: an append-only file of events that tells its own damage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from moc.errors import StudyError
from moc.lines import from_line, to_line
from moc.privacy.disk import sync
from moc.study.stopping import signals_held


class StudyLedger:
    """An append-only file of events, one JSON object a line: the only truth about a study.

    A process may be killed at any moment. Every line ends with a checksum of itself; a last line
    that is cut off or does not fit its checksum never happened, as nobody has acted on it since,
    and any other such line is refused. Reading changes nothing: whoever appends first, drops it.

    Attributes:
        events: All events so far, in order.
        damage: What was left out, in words; empty if nothing.
    """

    def __init__(self, path: Path) -> None:
        """Open the ledger at `path`, or start one.

        Raises:
            StudyError: If a line before the last one is damaged.
        """
        self.path = path
        self.events: list[dict[str, Any]] = []
        self.damage = ""
        self._places: dict[tuple[str, Any], list[int]] = {}
        self._size = self._end = 0  # bytes of what is whole; of the file
        if path.exists():
            self._read()

    def append(self, kind: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
        """Write an event and wait until it is on the disk.

        Raises:
            StudyError: If another process has written to the file.
        """
        line = to_line({"event": kind, **fields})
        with signals_held():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            place = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                self._write(place, line)
            finally:
                os.close(place)
            if not self._size:
                sync(self.path.parent)
            self._size = self._end = self._size + len(line)
            self._note(from_line(line))
        return self.events[-1]

    def find(self, kind: str, **fields: Any) -> dict[str, Any] | None:  # noqa: ANN401
        """The first event of a kind with these fields, if there is one."""
        return next(iter(self.all(kind, **fields)), None)

    def all(self, kind: str, **fields: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """All events of a kind with these fields."""
        places = self._places.get((kind, fields.get("trial")), [])
        found = map(self.events.__getitem__, places)
        return [event for event in found if all(event.get(k) == v for k, v in fields.items())]

    def made(self, number: int) -> dict[str, Any] | None:
        """The last note that a trial was condensed, unless its set was lost since."""
        condensed, lost = self.all("condensed", trial=number), self.all("lost", trial=number)
        return condensed[-1] if len(condensed) > len(lost) else None

    @property
    def finished(self) -> bool:
        """Whether the study has run to its end, and was not taken up again since."""
        return len(self.all("finished")) > len(self.all("reopened"))

    @property
    def stops(self) -> list[dict[str, Any]]:
        """The last note of every rung that its search has ended, unless it went on since."""
        last = {event["rung"]: event for event in self.all("stopped")}
        return [
            event
            for rung, event in last.items()
            if self.find("asked", rung=rung, batch=event["batch"]) is None
        ]

    def _write(self, place: int, line: bytes) -> None:
        """Write a line in place of a damaged last one; leave no part of it if that fails."""
        if os.fstat(place).st_size != self._end:
            raise StudyError(
                f"Another process wrote to {self.path}. Let only one work on a study, and run the "
                "same command again."
            )
        os.truncate(place, self._size)
        try:
            rest = line
            while rest:
                rest = rest[os.write(place, rest) :]
            os.fsync(place)
        except OSError as error:
            os.truncate(place, self._size)
            self._end = self._size
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        for trial in {None, event.get("trial")}:
            self._places.setdefault((event["event"], trial), []).append(len(self.events) - 1)

    def _read(self) -> None:
        raw = self.path.read_bytes()
        self._end = len(raw)
        lines = raw.splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                self._note(from_line(line))
            except ValueError:
                if number < len(lines):
                    raise StudyError(
                        f"Line {number} of {self.path} is not a study event, or was changed: bring "
                        "the file back from a copy, or give the study another name."
                    ) from None
                self.damage = f"line {number} of {self.path}, the last one, is cut off or changed"
                return
            self._size += len(line)
