"""Rungs of a release, and their files: written together or not at all, never over another."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from moc.errors import PrivacyError
from moc.evidence.access import ADJACENCY, UNIT
from moc.evidence.accountant import ACCOUNTANT
from moc.evidence.sums import GRID, left_out

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moc.evidence.access import Access
    from moc.evidence.release import Ladder


@dataclass(frozen=True, kw_only=True)
class Rung:
    """The sums as one reader may see them.

    Attributes:
        epsilon: Nominal epsilon of the rung; infinity for exact sums of an open study.
        first: Class sums with noise (K, c, d), float64, in grid steps.
        second: Second moments with noise (K, p(p+1)/2), likewise.
        noise: Standard deviation of the noise over C; 0 for exact sums.
        counts: Records of each class with noise (c,), likewise; (0,) if they were left out.
    """

    epsilon: float
    first: Tensor
    second: Tensor
    noise: float
    counts: Tensor = field(default_factory=left_out)


def as_rungs(found: Sequence[dict[str, Tensor]], ladder: Ladder | None) -> list[Rung]:
    """What `noised` gave, as the rungs of `ladder`."""
    steps = zip(ladder.epsilons, ladder.multipliers(), strict=True) if ladder else [(math.inf, 0.0)]
    return [
        Rung(epsilon=epsilon, noise=noise, **sums)
        for (epsilon, noise), sums in zip(steps, found, strict=True)
    ]


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
