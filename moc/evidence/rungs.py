"""Rungs of a release on disk: one file each, written together or not at all, never over another."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from moc.errors import PrivacyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor


def require_empty(folder: Path) -> None:
    """Refuse a folder that holds files, before anything is drawn for it."""
    if folder.exists() and any(folder.iterdir()):
        raise PrivacyError(
            f"A new or empty folder for a release expected, found files in {folder}. "
            "A release is never written over another: give it a folder of its own."
        )


def store(
    rungs: Sequence[dict[str, Tensor]], claims: Sequence[dict[str, str]], paths: Sequence[Path]
) -> None:
    """Write all rungs, with what they claim, to a folder beside the right one, then rename it."""
    folder = paths[0].parent
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for tensors, claim, path in zip(rungs, claims, paths, strict=True):
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
