"""The release: sums of T drawn once, with the noise of every rung of a ladder of epsilons.

The noise of the largest epsilon is drawn first; each smaller one adds N(0, (σ² - σ_prev²) C²) to
the rung above. A reader of one rung has that rung's epsilon, and all rungs together cost the
largest, since every other is computed from it. The increments are as secret as the first noise:
they are stored nowhere but in the rungs. That noise is about to be drawn is on the disk first, in
the study's ledger and in the data set's, so that a kill at any moment leaves either a release that
is found or a draw that counts. What would need another record's company, or another run,
to be the same is refused before T is read (`moc.privacy.isolation`). A release may have several
rounds, each with networks, statistics and a share of the budget of its own.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from moc.data.storage import checksum
from moc.errors import PrivacyError
from moc.networks.architectures import AnyNetwork
from moc.networks.learned import LearnedSettings
from moc.networks.train import Progress
from moc.privacy.access import ADJACENCY, UNIT, Access
from moc.privacy.accountant import ACCOUNTANT
from moc.privacy.collect import CLIP, Collection
from moc.privacy.disk import overwrite, room_for, sync
from moc.privacy.isolation import require_isolated
from moc.privacy.ladder import Ladder, Rung
from moc.privacy.ledger import Ledger
from moc.privacy.noise import TIERS, Tier, gaussian
from moc.privacy.shards import Workers, sums_of
from moc.privacy.sums import GRID, Sums
from moc.statistics.base import STATISTICS, Statistic
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans

_SUM = "sha256 of the sums"
_DATA = "train"  # T by its name in the ledger


class Round(BaseModel):
    """`[[rounds]]`: one pass over T.

    Attributes:
        share: Share of the release's budget, as 1/σ²; those of all rounds sum to one.
        networks: Architectures, used in turn; by the records' shape if left out.
        count: Number of networks K.
        augmentation: Whether every network has a draw of differentiable augmentation of its own.
        width: Project features to this many for second moments; all of them if left out.
        statistics: What is summed under them.
        learned: Table: the networks learn from a set of the rounds before; random if left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)
    share: float = Field(default=1.0, gt=0, le=1)
    networks: tuple[AnyNetwork, ...] | None = Field(default=None, min_length=1)
    count: int = Field(default=64, gt=0)
    augmentation: bool = False
    width: int | None = Field(default=None, gt=0)
    statistics: tuple[Annotated[Statistic, STATISTICS], ...] = (
        ClassMeans(),
        ClassCounts(weight=0.01),
    )
    learned: LearnedSettings | None = None


@dataclass(frozen=True, kw_only=True)
class Released:
    """The sums of one round as one reader may see them.

    Attributes:
        rung: The rung; None for exact sums of an open study.
        blocks: Sums with noise, float64, in grid steps; by statistic, see `Sums`.
        noise: Standard deviation of this round's noise over C; 0 for exact sums.
    """

    rung: Rung | None
    blocks: dict[str, Tensor]
    noise: float


def draw(
    ledger: Ledger,
    collection: Collection,
    ladder: Ladder | None,
    *,
    folder: Path,
    key: str = "release/0",
    tier: Tier = "standard",
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> list[Released]:
    """Draw one round of a release, or read back the one that was drawn.

    Args:
        ledger: Pays; refuses a second draw and any spending over the budget before T is read.
        collection: What is summed.
        ladder: The rungs, with the round's share; None for exact sums, which only an open study may
            have.
        folder: Where the rungs are stored, one file each, so that a rung can be given away alone;
            used for nothing else.
        key: Name of the access in the ledger.
        tier: How noise is drawn.
        workers: Who sums the records, if it is not this process.
        progress: Told (records done, records in all).

    Returns:
        One for each rung, largest epsilon first; a single exact one without a ladder.

    Raises:
        BudgetExceededError: If the budget does not allow it.
        PrivacyError: If it was drawn before and is gone, if what is stored was not paid for in this
            ledger as it is asked for now, or if records are not kept apart.
    """
    if ladder is not None and ledger.budget is not None and ladder.delta != ledger.budget.delta:
        raise PrivacyError(
            f"One delta for the ladder and the budget expected, found {ladder.delta:g} and "
            f"{ledger.budget.delta:g}."
        )
    access = _access(key, ladder, tier, purpose=f"sums under {collection.describe()}")
    claims = _claims(access, ladder)
    paths = [folder / f"rung-{i}.safetensors" for i in range(len(claims))]
    if ledger.begun(key) and not any(path.exists() for path in paths):
        _complete(claims, paths)
    if all(path.exists() for path in paths):
        ledger.confirm(access)
    else:
        if not ledger.is_finished(key):
            _require_empty(folder)
            if not ledger.begun(key):
                _require_empty(_part_of(paths))
        private = ladder is not None
        if private:
            require_isolated(collection)
        blank = {name: block.double() for name, block in collection.zeros().items()}
        sizes = {p.name: len(_as_bytes(blank, c)) for p, c in zip(paths, claims, strict=True)}
        with room_for(sizes, folder) as room:
            records = ledger.read(access)
            sums = sums_of(collection, records, private=private, workers=workers, progress=progress)
            if private:
                ledger.begin(key)
            _store(noised(sums, ladder, tier), claims, paths, room)
            del sums
    ledger.finish(key)
    found = [_load(*one) for one in zip(paths, claims, strict=True)]
    return as_released(found, ladder)


def as_released(found: Sequence[dict[str, Tensor]], ladder: Ladder | None) -> list[Released]:
    """What `noised` gave, with the rungs of `ladder`."""
    if ladder is None:
        return [Released(rung=None, blocks=blocks, noise=0.0) for blocks in found]
    return [
        Released(rung=rung, blocks=blocks, noise=noise)
        for rung, blocks, noise in zip(ladder.rungs, found, ladder.multipliers, strict=True)
    ]


def noised(sums: Sums, ladder: Ladder | None, tier: Tier) -> list[dict[str, Tensor]]:
    """The sums with the noise of each rung; all noise is drawn here and nowhere else."""
    values = sums.flat().double()
    vectors, before = [], 0.0
    for multiplier in ladder.multipliers if ladder is not None else ():
        std = GRID * CLIP * math.sqrt(multiplier**2 - before**2)
        values = values + gaussian(len(values), std=std, tier=tier)
        vectors.append(values)
        before = multiplier
    sizes = [block.numel() for _, block in sums.items()]
    return [
        {
            name: part.reshape(block.shape)
            for (name, block), part in zip(sums.items(), value.split(sizes), strict=True)
        }
        for value in (vectors or [values])
    ]


def _access(key: str, ladder: Ladder | None, tier: Tier, *, purpose: str) -> Access:
    if ladder is None:
        return Access(key=key, data=_DATA, purpose=f"{purpose}, exact", kind="open")
    return Access(
        key=key,
        data=_DATA,
        purpose=f"{purpose}; {TIERS[tier]}",
        kind="gaussian",
        ladder=ladder.multipliers,
        sensitivity=CLIP,
    )


def _claims(access: Access, ladder: Ladder | None) -> list[dict[str, str]]:
    """What each rung's file says about itself; nothing in it comes from the records."""
    if ladder is None:
        return [{"purpose": access.purpose, "privacy": "none"}]
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
        for epsilon, multiplier in zip(ladder.epsilons, access.ladder, strict=True)
    ]


def _require_empty(folder: Path) -> None:
    """Refuse a folder that holds files, before anything is drawn for it."""
    if folder.exists() and any(folder.iterdir()):
        raise PrivacyError(
            f"A new or empty folder for a release expected, found files in {folder}. "
            "A release is never written over another: give it a folder of its own."
        )


def _store(
    rungs: Sequence[dict[str, Tensor]],
    claims: Sequence[dict[str, str]],
    paths: Sequence[Path],
    room: Path,
) -> None:
    """Write all rungs, with what they claim, where there is room for them, then rename that."""
    part = _part_of(paths)
    shutil.rmtree(part, ignore_errors=True)
    room.rename(part)
    for tensors, claim, path in zip(rungs, claims, paths, strict=True):
        overwrite(part / path.name, _as_bytes(tensors, claim))
    _publish(paths)


def _as_bytes(tensors: dict[str, Tensor], claim: dict[str, str]) -> bytes:
    """A rung as it is stored."""
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return save(whole, metadata={**claim, _SUM: checksum(whole)})


def _complete(claims: Sequence[dict[str, str]], paths: Sequence[Path]) -> None:
    """Find a release that was written whole, by a run that was killed before it renamed it."""
    part = _part_of(paths)
    try:
        for path, claim in zip(paths, claims, strict=True):
            _load(part / path.name, claim)
    except (OSError, SafetensorError, PrivacyError):
        return
    _publish(paths)


def _publish(paths: Sequence[Path]) -> None:
    folder = paths[0].parent
    if folder.exists():
        folder.rmdir()
    _part_of(paths).rename(folder)
    sync(folder.parent)


def _part_of(paths: Sequence[Path]) -> Path:
    folder = paths[0].parent
    return folder.with_name(folder.name + ".part")


def _load(path: Path, claim: dict[str, str]) -> dict[str, Tensor]:
    """Read a rung back.

    Raises:
        PrivacyError: If the file claims anything else, which makes it one of another release, or
            does not fit its checksum.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
        tensors = load_file(path)
    except SafetensorError:
        tensors, found = {}, {_SUM: ""}
    if found.pop(_SUM, "") != checksum(tensors):
        raise PrivacyError(
            f"{path} is damaged: it does not fit its checksum. Bring it back from a copy; it is "
            "never drawn again from the same budget."
        )
    if found != claim:
        raise PrivacyError(
            f"{path} belongs to another release: «{claim}» expected, found «{found}»."
        )
    return tensors
