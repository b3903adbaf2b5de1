"""Events as lines of a file that tell their own damage."""

from __future__ import annotations

import json
import zlib
from typing import Any

_SUM = "sum"


def to_line(event: dict[str, Any]) -> bytes:
    """An event with its checksum, as a line of JSON."""
    text = json.dumps(event, allow_nan=False)
    return f'{text[:-1]}, "{_SUM}": "{zlib.crc32(text.encode()):08x}"}}\n'.encode()


def from_line(line: bytes, *, summed: bool = True) -> dict[str, Any]:
    """Inverse of `to_line`.

    Args:
        line: The line, with its end.
        summed: Whether one without a checksum is refused too.

    Raises:
        ValueError: If it is no such line, or was changed.
    """
    event = json.loads(line)
    if not isinstance(event, dict) or "event" not in event:
        raise ValueError("no event")
    bare = {key: value for key, value in event.items() if key != _SUM}
    if (summed or _SUM in event) and to_line(bare) != line:
        raise ValueError("the line does not fit its checksum")
    return bare
