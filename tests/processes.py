"""Processes of this machine as tests see them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def below(pid: int, title: str = "") -> list[int]:
    """Those that this one has begun, and those these have, whose command line has `title`."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if place.name.isdecimal() and title in words and pid in _above(int(place.name)):
            found.append(int(place.name))
    return found


def wait_until(done: Callable[[], T], seconds: float = 30) -> T:
    """What it gives once it is something, or at last."""
    deadline = time.monotonic() + seconds
    while not (found := done()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _above(pid: int) -> Iterator[int]:
    """Its parent, the parent of that, and so on."""
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            return
        yield pid
