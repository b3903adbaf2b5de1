"""A chosen set as a folder that can be handed on: the set, a card, a picture."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import torch

from moc import __version__
from moc.data.declared import DataInfo
from moc.data.storage import load_set, save_set
from moc.data.synthetic import SyntheticSet
from moc.errors import DataError, PolicyError
from moc.evaluate.scores import Scores
from moc.privacy.access import ADJACENCY, UNIT
from moc.privacy.accountant import ACCOUNTANT
from moc.study.findings import Confirmation
from moc.study.records import StudyRecord, Trial
from moc.views.card import card_text
from moc.views.checks import checks_of_set, curve_of, curve_rows
from moc.views.contact_sheet import contact_sheet
from moc.views.handover import (
    CROISSANT,
    DECODED,
    LOADER,
    PNGS,
    SUMS,
    TABLE,
    check_pngs,
    header,
    is_untouched,
    sha256,
    write_for_strangers,
    write_sums,
)
from moc.views.words import confirmation_words, finite, shared_settings

Format = Literal["safetensors", "npz"]
SHEET, CARD, README = "contact_sheet.png", "card.json", "README.md"
_SETS = ("set.safetensors", "set.npz", DECODED)
_WRITTEN = (*_SETS, SHEET, CARD, README, LOADER, TABLE, PNGS, CROISSANT, SUMS)


def export_set(
    study: StudyRecord,
    number: int,
    folder: Path,
    *,
    format: Format = "safetensors",
    reasons: Sequence[str] = (),
    compared: float | None = None,
    pngs: bool = False,
    force: bool = False,
) -> Path:
    """Write the set of one trial with everything that its user should know.

    Args:
        study: The study.
        number: The trial.
        folder: Where to write: `set.safetensors` or `set.npz`, `README.md` (the card for a
            person), `card.json` (the same for a program), `contact_sheet.png`, and what people
            without moc need: `load.py`, `train.parquet`, `croissant.json`, `SHA256SUMS`.
        format: `safetensors` keeps the stored form, which `moc.data.storage.load_set` reads.
            `npz` holds records decoded for training, `x` (n, *shape) and `labels` (n, classes).
        reasons: Why this set was chosen, in words.
        compared: Largest epsilon of the sets that took part in the choice; the study's total if
            left out.
        pngs: Write every training record as a PNG too, in a folder for each class.
        force: Write even if the folder holds something; other files in it stay. An export of the
            same study that nobody touched is replaced without it.

    Returns:
        The folder.

    Raises:
        PolicyError: If there is no such trial or format, or the folder is not empty.
        DataError: If the stored set is missing.
    """
    trial = next((trial for trial in study.trials if trial.number == number), None)
    if trial is None:
        raise PolicyError(
            f"Study {study.name} has {len(study.trials)} finished trials, none with number "
            f"{number}. `moc front` lists them."
        )
    if format not in ("safetensors", "npz"):
        raise PolicyError(f"The format safetensors or npz expected, found {format!r}.")
    check_export(study, folder, force=force, pngs=pngs)
    synthetic = load_set(study.folder / trial.set_path)
    part = folder.absolute().with_name(folder.absolute().name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        path = _write_set(synthetic, part / f"set.{format}")
        card = _card(study, trial, synthetic, path)
        if card["privacy"]["private"]:
            choice = study.epsilon if compared is None else compared
            card["privacy"]["epsilon_with_choice"] = max(choice, trial.epsilon)
        card["reasons"] = list(reasons)
        _write_card(card, synthetic, part, pngs=pngs)
        _put(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def load(folder: Path | str) -> SyntheticSet:
    """Read the set of an exported folder, in either format.

    Raises:
        DataError: If the folder holds no export.
    """
    folder = Path(folder)
    if (folder / "set.safetensors").is_file():
        return load_set(folder / "set.safetensors")
    try:
        data = json.loads((folder / CARD).read_text(encoding="utf-8"))["data"]
        with np.load(folder / "set.npz", allow_pickle=False) as arrays:
            x, labels = (torch.from_numpy(arrays[name]) for name in ("x", "labels"))
        info = DataInfo(
            name=data["name"],
            count=data["records"],
            shape=tuple(data["shape"]),
            classes=tuple(data["classes"]),
            mean=tuple(data["mean"]),
            std=tuple(data["std"]),
        )
        return SyntheticSet(info=info, x=x, labels=labels)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise DataError(
            f"A folder that moc exported expected at {folder}, with set.safetensors, or set.npz "
            f"and {CARD}; found none that can be read."
        ) from error


def _can_be_made_again(folder: Path, study: str) -> bool:
    """Whether a folder holds an export of the study as it was written, and nothing else."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return card["study"] == study and is_untouched(folder)
    except (OSError, ValueError, KeyError, TypeError, PolicyError):
        return False


def _write_card(card: dict[str, Any], synthetic: SyntheticSet, folder: Path, *, pngs: bool) -> None:
    """Everything but the set itself."""
    contact_sheet(synthetic).save(folder / SHEET)
    (folder / CARD).write_text(json.dumps(card, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    name = synthetic.info.name
    text = header(f"{name}, condensed") + card_text(card)
    (folder / README).write_text(text, encoding="utf-8")
    title = f"A synthetic set that stands for {name} when a classifier is trained; see README.md."
    write_for_strangers(synthetic, folder, file=card["file"], title=title, pngs=pngs)
    write_sums(folder)


def _put(part: Path, folder: Path) -> None:
    """Move what was written to its place; files of an earlier export that it lacks go."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _WRITTEN:
        old = folder / name
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    for path in part.iterdir():
        path.replace(folder / path.name)


def check_export(
    study: StudyRecord, folder: Path, *, force: bool = False, pngs: bool = False
) -> None:
    """Refuse to export where something would be lost, or nothing can be written.

    Args:
        study: The study; its own exports can be made again, if nobody touched them.
        folder: The folder.
        force: Whether anything may be in it.
        pngs: Whether records are to be written as PNGs.

    Raises:
        PolicyError: If it may not be written to, or no PNG can show the records.
    """
    if pngs and study.trials:
        check_pngs(load_set(study.folder / study.trials[0].set_path).info)
    near = next(
        place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()
    )
    if not (near.is_dir() and os.access(near, os.W_OK)):
        raise PolicyError(f"A folder that can be written to expected at {near}. Name another one.")
    again = force or _can_be_made_again(folder, study.name)
    if folder.exists() and not again and any(folder.iterdir()):
        raise PolicyError(
            f"An empty or new folder expected at {folder}; it holds something. "
            "Name another one, or allow overwriting."
        )


def _write_set(synthetic: SyntheticSet, path: Path) -> Path:
    if path.suffix == ".safetensors":
        return save_set(synthetic, path)
    x, labels = synthetic.training_records()
    classes = np.array(synthetic.info.classes)
    np.savez_compressed(path, x=x.cpu().numpy(), labels=labels.cpu().numpy(), classes=classes)
    return path


def _card(study: StudyRecord, trial: Trial, synthetic: SyntheticSet, path: Path) -> dict[str, Any]:
    info = synthetic.info
    likely = synthetic.labels.argmax(1).bincount(minlength=len(info.classes))
    return {
        "moc": __version__,
        "study": study.name,
        "complete": study.complete,
        "stopped": study.stopped.get(trial.rung_index, ""),
        "trial": trial.name,
        "on_front": trial.number in study.front,
        "p_nondominated": study.p_nondominated.get(trial.number),
        "file": path.name,
        "sha256": sha256(path),
        "data": {
            "name": info.name,
            "records": info.count,
            "shape": list(info.shape),
            "classes": list(info.classes),
            "mean": list(info.mean),
            "std": list(info.std),
            "taken": list(info.taken),
        },
        "synthetic": {
            "records": len(synthetic),
            "per_class": likely.tolist(),
            "labels": "hard" if bool((synthetic.labels.amax(1) == 1).all()) else "soft",
            "decoder": synthetic.decoder.model_dump(),
            "training_records": len(synthetic) * synthetic.decoder.count,
        },
        "weights": trial.weights,
        "scores": _both(trial.scores, trial.report),
        "baselines": {one.name: _both(one.scores, one.report) for one in study.baselines},
        "protocol": study.protocol or "not recorded",
        "confirmation": _confirmation(study, trial.number),
        "masking": checks_of_set(study, trial.number),
        "curve": curve_rows(curve) if (curve := curve_of(study, trial.name)) else [],
        "privacy": _privacy(study, trial),
        "settings": shared_settings(study),
    }


def _both(scores: Scores, report: Scores | None) -> dict[str, dict[str, list[float | None]] | None]:
    """(mean, standard error) of every objective on validation and on test records."""
    return {"validation": _scores(scores), "test": None if report is None else _scores(report)}


def _scores(scores: Scores) -> dict[str, list[float | None]]:
    return {name: [finite(one.mean), finite(one.se)] for name, one in scores.items()}


def _confirmation(study: StudyRecord, number: int) -> dict[str, Any] | None:
    one = study.confirmations.get(number)
    if one is None:
        return None
    hardened = None if one.hardened is None else _confirmed(one.hardened)
    return {**_confirmed(one), "hardened": hardened, "words": confirmation_words(study, number)}


def _confirmed(one: Confirmation) -> dict[str, Any]:
    return {**asdict(one), "scores": _scores(one.scores)}


def _privacy(study: StudyRecord, trial: Trial) -> dict[str, Any]:
    """The guarantee; without any number where there is none."""
    accesses = list(study.privacy)
    if not trial.is_private or not study.is_private:
        return {"private": False, "accesses": accesses}
    return {
        "private": True,
        "epsilon": trial.epsilon,
        "rung": None if trial.rung is None else trial.rung.epsilon,
        "epsilon_study": study.epsilon,
        "delta": study.delta,
        "adjacency": ADJACENCY,
        "unit": UNIT,
        "accountant": ACCOUNTANT,
        "accesses": accesses,
    }
