"""Records of a source, for scripts that name it on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moc.data import SOURCES

if TYPE_CHECKING:
    from pathlib import Path

    from moc.data import Source


def source(kind: str, path: Path | None = None) -> Source:
    """The source, read from `path` where it is not installed."""
    return SOURCES.make({"kind": kind, **({} if path is None else {"path": path})})
