"""The settings of a study as its folder keeps them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

from moc.data.storage import write_whole
from moc.errors import StudyError
from moc.privacy.disk import sync
from moc.study.config import StudyConfig
from moc.study.events import StudyLedger
from moc.study.stop_rules import StopSettings

FORMAT = 2
"""Version of what a study folder holds: raised by whatever older versions of moc cannot read."""
_ABOUT = "moc"  # the entry of config.json that is no setting


def read_settings(folder: Path) -> dict[str, Any]:
    """The resolved settings of the study in a folder.

    Raises:
        StudyError: If there is none, it is damaged, or another version of moc wrote it.
    """
    return _read(folder)[0]


def identity_of(folder: Path) -> str:
    """What a study folder is known by, wherever it is moved; see `read_settings`."""
    return _read(folder)[1]["id"]


def refuse_other_settings(config: StudyConfig, folder: Path) -> str:
    """Check that a folder holds no study of other settings.

    Returns:
        What was mended, in words; empty if nothing.

    Raises:
        StudyError: If it does, or if its settings are lost.
    """
    path, ledger = folder / "config.json", StudyLedger(folder / "study.jsonl")
    started = ledger.find("started")
    if not path.exists() and not ledger.events:
        return ""
    settings = held_to(config.model_dump(mode="json"), config)
    try:
        known = held_to(read_settings(folder), config)
    except StudyError:
        if started is None or started.get("settings") != digest(config):
            raise
        path.unlink(missing_ok=True)
        write_settings(config, folder)
        return f"{path} was damaged, and is written again: the study was begun with these settings."
    changed = sorted(key for key in settings if settings[key] != known.get(key))
    if changed:
        raise StudyError(
            f"{folder} holds a study with other settings (they differ in: {', '.join(changed)}). "
            f"A study is never continued under new settings: give it another name, or remove the "
            f"folder{' (its privacy budget stays spent)' if known.get('privacy') else ''}."
        )
    return ""


def held_to(settings: dict[str, Any], config: StudyConfig) -> dict[str, Any]:
    """Settings that a study is held to: not where the data lie, but their content instead.

    When the search stops may change too, but in a study of several epsilons: whoever changes it
    may have seen the scores of them all, and the smaller ones may owe nothing to the larger.
    """
    data = dict(settings["data"])
    for name in ("source", "public_source"):
        source = getattr(config.data, name)
        if source is not None and data.get(name):
            data[name] = {k: v for k, v in data[name].items() if k not in source.places}
    search = dict(settings["search"])
    stop = search.pop("stop", None)
    if config.rung_count > 1 and stop not in (None, StopSettings().model_dump(mode="json")):
        search["stop"] = stop
    return {**settings, "data": data, "search": search}


def is_written(config: StudyConfig, folder: Path) -> bool:
    """Whether a folder has these very settings, and where the data lie."""
    path = folder / "config.json"
    return path.exists() and read_settings(folder) == config.model_dump(mode="json")


def write_settings(config: StudyConfig, folder: Path) -> None:
    """Write the settings, whole or not at all; what stands there lacks only where the data are."""
    path = folder / "config.json"
    if not is_written(config, folder):
        known = _load(path) or {}
        settings = config.model_dump(mode="json")
        about = {_ABOUT: known.get(_ABOUT) or {"format": FORMAT, "id": uuid4().hex}}
        text = json.dumps({**about, **settings}, indent=2) + "\n"
        write_whole(text.encode(), path)
        sync(folder)


def digest(config: StudyConfig) -> str:
    """Tells settings apart."""
    settings = held_to(config.model_dump(mode="json"), config)
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def require_format(folder: Path) -> None:
    """Check that no other version of moc wrote what a folder holds, where that can be told.

    Raises:
        StudyError: If another one did.
    """
    found = _load(folder / "config.json")
    version = FORMAT if found is None else found.get(_ABOUT, {"format": 1})["format"]
    if version != FORMAT:
        raise StudyError(
            f"{folder} holds a study in format {version} and this moc reads format {FORMAT}: read "
            "it with the moc that wrote it, or run the study again under another name."
        )


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings, and what stands in the file beside them."""
    path = folder / "config.json"
    if not path.is_file():
        raise StudyError(f"{folder} holds no study. Run one first: moc study studies/digits.toml")
    require_format(folder)
    found = _load(path)
    if found is None:
        raise StudyError(
            f"{path} is empty or damaged: run the command that started the study again, or bring "
            "the file back from a copy."
        )
    return found, found.pop(_ABOUT)


def _load(path: Path) -> dict[str, Any] | None:
    """What stands in a file of settings; None if that cannot be told."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        about = found.get(_ABOUT, {"format": 1})
        return found if isinstance(about["format"], int) else None
    except (FileNotFoundError, ValueError, AttributeError, KeyError, TypeError):
        return None
