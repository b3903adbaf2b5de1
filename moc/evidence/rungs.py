"""Rungs of a release on disk: one file each, written together or not at all, never over another."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from moc.errors import PrivacyError
from moc.evidence.access import ADJACENCY, UNIT
from moc.evidence.accountant import ACCOUNTANT
from moc.evidence.statistics import GRID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from moc.evidence.access import Access
    from moc.evidence.release import Ladder


def claims(access: Access, ladder: Ladder | None) -> list[dict[str, str]]:
    """What each rung's file says about itself; nothing in it comes from the records."""
    if ladder is None:
        return [{"purpose": access.purpose, "privacy": "none"}]
    beside = {"charged beside it": "; ".join(m.words() for m in ladder.beside)}
    return [
        {
            "purpose": access.purpose,
            "epsilon": repr(epsilon),
            "delta": repr(ladder.delta),
            "share of the budget": repr(ladder.share),
            "noise multiplier": repr(multiplier),
            "sensitivity": repr(access.sensitivity),
            "grid steps per unit": repr(GRID),
            "adjacency": ADJACENCY,
            "unit": UNIT,
            "accountant": ACCOUNTANT,
        }
        | (beside if ladder.beside else {})
        for epsilon, multiplier in zip(ladder.epsilons, access.ladder, strict=True)
    ]


def require_empty(folder: Path) -> None:
    """Refuse a folder that holds files, before anything is drawn for it."""
    if folder.exists() and any(folder.iterdir()):
        raise PrivacyError(
            f"A new or empty folder for a release expected, found files in {folder}. "
            "A release is never written over another: give it a folder of its own."
        )


def store(
    rungs: Sequence[dict[str, Tensor]], said: Sequence[dict[str, str]], paths: Sequence[Path]
) -> None:
    """Write all rungs, with what they claim, to a folder beside the right one, then rename it."""
    folder = paths[0].parent
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for tensors, claim, path in zip(rungs, said, paths, strict=True):
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(whole, part / path.name, metadata=claim)
    if folder.exists():
        folder.rmdir()
    part.rename(folder)


def load(path: Path, claim: dict[str, str]) -> dict[str, Tensor]:
    """Read a rung back.

    Raises:
        PrivacyError: If the file claims anything else: it belongs to another release.
    """
    with safe_open(path, framework="pt") as file:
        found = file.metadata()
    if found != claim:
        raise PrivacyError(
            f"{path} belongs to another release: «{claim}» expected, found «{found}»."
        )
    return load_file(path)
