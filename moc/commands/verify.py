"""Whether a folder is as it was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from moc.data.curve import load_curve
from moc.data.storage import load_set
from moc.errors import DataError
from moc.export import load
from moc.study.records import set_path
from moc.study.store import read_study
from moc.views.handover import SUMS, changed_files


def verify_export(folder: Path) -> list[str]:
    """What is wrong with an exported folder: files that changed, or a set that cannot be read.

    Raises:
        PolicyError: If the folder is no export with a list of hashes.
    """
    wrong = [f"{name} {words}" for name, words in changed_files(folder).items()]
    return wrong + _unreadable(lambda: load(folder))


def verify_study(folder: Path) -> tuple[list[str], str]:
    """What is wrong with a study folder, and what was looked at, in words.

    Raises:
        StudyError: If the folder holds no study.
    """
    study = read_study(folder)
    paths = [trial.set_path for trial in study.trials]
    paths += [set_path(one.name) for one in study.baselines]
    wrong = [fault for path in paths for fault in _unreadable(lambda p=path: load_set(folder / p))]
    curves = sorted(folder.glob("curves/*.safetensors"))
    wrong += [fault for path in curves for fault in _unreadable(lambda p=path: load_curve(p))]
    state = "complete" if study.complete else "not complete yet"
    stored = f"{len(paths)} sets and {len(curves)} curve{'' if len(curves) == 1 else 's'}"
    return wrong, f"its ledgers and {stored} by their checksums, {state}"


def is_export(folder: Path) -> bool:
    """Whether a folder has a list of hashes."""
    return (folder / SUMS).is_file()


def _unreadable(read: Callable[[], object]) -> list[str]:
    try:
        read()
    except DataError as error:
        return [str(error)]
    return []
