"""The ledger's file: one JSON object a line, appended and never changed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from moc.errors import PrivacyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Journal:
    """Events of one writer. Reading changes nothing, so that others may look while it works."""

    def __init__(self, path: Path) -> None:
        """Keep events at `path`."""
        self._path = path
        self._size = 0  # bytes of the whole lines that this object knows

    def replay(self, apply: Callable[[dict[str, Any]], None]) -> None:
        """Hand over every event in order.

        A torn last line is left out: whoever wrote it was killed before acting on it.

        Raises:
            PrivacyError: If a line is damaged, or `apply` cannot make sense of it.
        """
        raw = self._path.read_bytes() if self._path.exists() else b""
        self._size = raw.rfind(b"\n") + 1
        for number, line in enumerate(raw[: self._size].splitlines(), start=1):
            try:
                apply(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise PrivacyError(
                    f"Line {number} of {self._path} is not an event of a privacy ledger. What has "
                    "been spent is unknown, so the study cannot go on."
                ) from None

    def append(self, event: dict[str, Any]) -> None:
        """Write an event and wait until it is on the disk.

        Raises:
            PrivacyError: If another process has written since the events were read.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(event, allow_nan=False) + "\n").encode()
        with self._path.open("ab") as file:
            if b"\n" in self._path.read_bytes()[self._size :]:
                raise PrivacyError(
                    f"Another process wrote to {self._path}. Let only one work on a study."
                )
            file.truncate(self._size)  # drop a torn line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._size += len(line)
