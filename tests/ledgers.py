"""Ledgers and settings of studies, as tests write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moc.lines import from_line, to_line
from moc.study.config import StudyConfig
from moc.study.settings import identity_of, write_settings


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The events of a study, every line of them whole."""
    lines = (folder / "study.jsonl").read_bytes().splitlines(keepends=True)
    return [from_line(line) for line in lines]


def write_events(folder: Path, events: list[dict[str, Any]]) -> None:
    """Let a study's ledger hold these events and no others."""
    (folder / "study.jsonl").write_bytes(b"".join(map(to_line, events)))


def rewrite_settings(folder: Path, config: StudyConfig) -> None:
    """Let a study, which stays the same one, have these settings."""
    path = folder / "config.json"
    known = identity_of(folder) if path.exists() else None
    path.unlink(missing_ok=True)
    write_settings(config, folder)
    if known is not None:
        path.write_text(path.read_text().replace(identity_of(folder), known))
