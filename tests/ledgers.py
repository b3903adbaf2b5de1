"""Ledgers and settings of studies, as tests write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moc.study.config import StudyConfig
from moc.study.events import from_line, to_line
from moc.study.settings import write_settings


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The events of a study, every line of them whole."""
    lines = (folder / "study.jsonl").read_bytes().splitlines(keepends=True)
    return [from_line(line) for line in lines]


def write_events(folder: Path, events: list[dict[str, Any]]) -> None:
    """Let a study's ledger hold these events and no others."""
    (folder / "study.jsonl").write_bytes(b"".join(map(to_line, events)))


def rewrite_settings(folder: Path, config: StudyConfig) -> None:
    """Let a study have these settings."""
    (folder / "config.json").unlink(missing_ok=True)
    write_settings(config, folder)
