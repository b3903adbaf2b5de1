"""A chosen set as a folder that can be handed on: the set, a card, a picture."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from moc import __version__
from moc.data.storage import load_set, save_set
from moc.errors import PolicyError
from moc.evidence.accountant import ACCOUNTANT
from moc.evidence.ledger import ADJACENCY, UNIT
from moc.report.card import card_text
from moc.report.checks import checks_of_set, curve_of, curve_rows
from moc.report.sheet import contact_sheet
from moc.report.table import front_rows
from moc.report.words import finite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moc.data.synthetic import SyntheticSet
    from moc.evaluate.scores import Scores
    from moc.study.records import StudyRecord, Trial

Format = Literal["safetensors", "npz"]
SHEET, CARD, README = "contact_sheet.png", "card.json", "README.md"


def export_set(
    study: StudyRecord,
    number: int,
    folder: Path,
    *,
    format: Format = "safetensors",
    reasons: Sequence[str] = (),
    compared: float | None = None,
    force: bool = False,
) -> Path:
    """Write the set of one trial with everything that its user should know.

    Args:
        study: The study.
        number: The trial.
        folder: Where to write: `set.safetensors` or `set.npz`, `README.md` (the card for a
            person), `card.json` (the same for a program) and `contact_sheet.png`.
        format: `safetensors` keeps the stored form, which `moc.data.storage.load_set` reads.
            `npz` holds records decoded for training, `x` (n, *shape) and `labels` (n, classes).
        reasons: Why this set was chosen, in words.
        compared: Largest epsilon of the sets that took part in the choice; the study's total if
            left out.
        force: Write even if the folder holds something; other files in it stay.

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
    if folder.exists() and not (folder.is_dir() and (force or not any(folder.iterdir()))):
        raise PolicyError(
            f"An empty or new folder expected at {folder}; it holds something. "
            "Name another one, or allow overwriting."
        )
    synthetic = load_set(study.folder / trial.set_path)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("set.safetensors", "set.npz"):
        (folder / stale).unlink(missing_ok=True)
    path = _write_set(synthetic, folder / f"set.{format}")
    card = _card(study, trial, synthetic, path)
    if card["privacy"]["private"]:
        choice = study.epsilon if compared is None else compared
        card["privacy"]["epsilon_with_choice"] = max(choice, trial.scores.epsilon)
    card["reasons"] = list(reasons)
    contact_sheet(synthetic).save(folder / SHEET)
    (folder / CARD).write_text(json.dumps(card, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (folder / README).write_text(card_text(card), encoding="utf-8")
    return folder


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
    rows = [row for row in front_rows(study) if row["kind"] == "baseline"]
    return {
        "moc": __version__,
        "study": study.name,
        "complete": study.complete,
        "trial": trial.name,
        "on_front": trial.number in study.front,
        "p_nondominated": study.p_nondominated.get(trial.number),
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "data": {
            "name": info.name,
            "records": info.count,
            "shape": list(info.shape),
            "classes": list(info.classes),
            "mean": list(info.mean),
            "std": list(info.std),
        },
        "synthetic": {
            "records": len(synthetic),
            "per_class": likely.tolist(),
            "labels": "hard" if bool((synthetic.labels.amax(1) == 1).all()) else "soft",
            "decoder": asdict(synthetic.decoder),
            "training_records": len(synthetic) * synthetic.decoder.count,
        },
        "weights": dict(
            zip(("generalization", "adversarial", "privacy"), trial.weighting.values(), strict=True)
        ),
        "scores": {"validation": _scores(trial.scores), "test": _scores(trial.report)},
        "baselines": [{k: v for k, v in row.items() if "epsilon" not in k} for row in rows],
        "protocol": study.protocol or "not recorded",
        "masking": checks_of_set(study, trial.number),
        "curve": curve_rows(curve) if (curve := curve_of(study, trial.name)) else [],
        "privacy": _privacy(study, trial),
        "settings": study.config,
    }


def _scores(scores: Scores | None) -> dict[str, float | None] | None:
    if scores is None:
        return None
    return {
        "error": finite(scores.error.mean),
        "error_se": finite(scores.error.se),
        "robust_error": finite(scores.robust_error.mean),
        "robust_error_se": finite(scores.robust_error.se),
    }


def _privacy(study: StudyRecord, trial: Trial) -> dict[str, Any]:
    """The guarantee; without any number where there is none."""
    accesses = list(study.privacy)
    if not trial.scores.is_private or math.isinf(study.epsilon):
        return {"private": False, "accesses": accesses}
    return {
        "private": True,
        "epsilon": trial.scores.epsilon,
        "rung": trial.rung,
        "epsilon_study": study.epsilon,
        "delta": study.delta,
        "adjacency": ADJACENCY,
        "unit": UNIT,
        "accountant": ACCOUNTANT,
        "accesses": accesses,
    }
