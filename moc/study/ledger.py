"""The study ledger: an append-only file of events, the only truth about a study."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from moc.errors import StudyError

if TYPE_CHECKING:
    from pathlib import Path


class StudyLedger:
    """One JSON object a line. A process may be killed at any moment: a torn last line is dropped.

    Attributes:
        events: All events so far, in order.
    """

    def __init__(self, path: Path) -> None:
        """Open the ledger at `path`, or start one."""
        self.path = path
        self.events: list[dict[str, Any]] = []
        if path.exists():
            self._read()

    def append(self, kind: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
        """Write an event and wait until it is on the disk."""
        event = {"event": kind, **fields}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.events.append(event)
        return event

    def find(self, kind: str, **fields: Any) -> dict[str, Any] | None:  # noqa: ANN401
        """The first event of a kind with these fields, if there is one."""
        return next(iter(self.all(kind, **fields)), None)

    def all(self, kind: str, **fields: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """All events of a kind with these fields."""
        return [
            event
            for event in self.events
            if event["event"] == kind and all(event.get(k) == v for k, v in fields.items())
        ]

    def _read(self) -> None:
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        for number, line in enumerate(whole.decode("utf-8").splitlines(), start=1):
            try:
                self.events.append(json.loads(line))
            except json.JSONDecodeError:
                raise StudyError(f"Line {number} of {self.path} is not a study event.") from None
        if len(whole) < len(raw):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
