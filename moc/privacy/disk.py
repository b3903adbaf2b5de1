"""Waiting until what was written is on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    place = os.open(path, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def overwrite(path: Path, data: bytes) -> None:
    """Write over a file, which needs no room that it does not have, and wait until that is done."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def room_for(sizes: Mapping[str, int], folder: Path) -> Iterator[Path]:
    """A folder of files of zeros, so that a full disk is met before what will be written exists.

    Args:
        sizes: Bytes of each file, by its name.
        folder: Where they are to be in the end; what is given is a hidden folder beside it, for
            `overwrite`, which is gone afterwards unless it was renamed.
    """
    room = folder.with_name(f".{folder.name}.room")
    shutil.rmtree(room, ignore_errors=True)
    try:
        room.mkdir(mode=0o700, parents=True)
        for name, size in sizes.items():
            (room / name).touch(mode=0o600)
            overwrite(room / name, bytes(size))
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
