"""Stored sets and curves that are lost or damaged: made again where that is the same, or named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from moc.data.curve import load_curve
from moc.data.storage import load_set, save_set
from moc.errors import DataError, StudyError
from moc.study.config import StudyConfig
from moc.study.events import StudyLedger
from moc.study.records import curve_path, set_path, trial_name


def fault_of(path: Path, load: Callable[[Path], object]) -> str:
    """What is wrong with a stored file, in words; empty if it is whole."""
    try:
        load(path)
    except DataError as error:
        return str(error)
    return ""


def mend_scored(config: StudyConfig, ledger: StudyLedger, folder: Path) -> list[str]:
    """Take damaged sets of scored trials from their curves again, which gives the same sets.

    Sets that are not scored yet are no matter here: they are simply condensed again.

    Returns:
        What was mended, in words.

    Raises:
        StudyError: If a set is not the point of a curve: what was measured of it can be found at
            no other.
    """
    said = []
    rows = {row["number"]: row for event in ledger.all("asked") for row in event["trials"]}
    for number in sorted(event["trial"] for event in ledger.all("scored")):
        path, row = folder / set_path(trial_name(number)), rows[number]
        fault = fault_of(path, load_set)
        if not fault:
            continue
        curve = folder / curve_path(row["rung"], config.space.recipe(row["point"]))
        if not config.on_curves or fault_of(curve, load_curve):
            raise StudyError(
                f"{trial_name(number)} is scored, and its set is lost: {fault} Bring the file back "
                "from a copy, or give the study another name."
            )
        save_set(load_curve(curve).at(**config.space.place(row["point"])), path)
        said.append(f"{path} was damaged, and is taken from its curve again.")
    return said
