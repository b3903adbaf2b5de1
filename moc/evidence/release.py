"""The release: sums of T drawn once, with the noise of every rung of a ladder of epsilons.

The noise of the largest epsilon is drawn first; each smaller one adds N(0, (σ² - σ_prev²) C²) to
the rung above. A reader of one rung has that rung's epsilon, and all rungs together cost the
largest, since every other is computed from it. The increments are as secret as the first noise:
they are stored nowhere but in the rungs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from moc.data._vault import Records
from moc.errors import PrivacyError
from moc.evidence.accountant import noise_multiplier
from moc.evidence.ledger import Access
from moc.evidence.noise import TIERS, Tier, gaussian
from moc.evidence.statistics import CLIP, GRID, RecordAttack, Statistics, Sums

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from moc.evidence.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The rungs of a study and the share of the budget that one release takes of each.

    Attributes:
        epsilons: Largest first.
        delta: One for all rungs.
        share: Share of 1/σ², which is what composes: shares of several releases sum to one.
    """

    epsilons: tuple[float, ...]
    delta: float = 1e-5
    share: float = 1.0

    def __post_init__(self) -> None:
        """Check the order of the rungs."""
        falling = all(a > b for a, b in zip(self.epsilons, self.epsilons[1:], strict=False))
        if not self.epsilons or not falling or self.epsilons[-1] <= 0:
            raise PrivacyError(
                f"A ladder of positive epsilons, largest first, expected; found {self.epsilons}."
            )

    def multipliers(self) -> tuple[float, ...]:
        """Noise multiplier of each rung, smallest first."""
        return tuple(
            noise_multiplier(eps, delta=self.delta) / math.sqrt(self.share) for eps in self.epsilons
        )


@dataclass(frozen=True, kw_only=True)
class Rung:
    """The sums as one reader may see them.

    Attributes:
        epsilon: Nominal epsilon of the rung; infinity for exact sums of an open study.
        first: Class sums with noise (K, c, d), float64, in grid steps.
        second: Second moments with noise (K, p(p+1)/2), likewise.
    """

    epsilon: float
    first: Tensor
    second: Tensor


def draw(
    ledger: Ledger,
    statistics: Statistics,
    ladder: Ladder | None,
    *,
    folder: Path,
    key: str = "release/clean",
    data: str = "train",
    tier: Tier = "standard",
    attack: RecordAttack | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Rung]:
    """Draw the release, or read back the one that was drawn.

    Args:
        ledger: Pays; refuses a second draw and any spending over the budget before T is read.
        statistics: What is summed.
        ladder: The rungs; None for exact sums, which only an open study may have.
        folder: Where the rungs are stored, one file each, so that a rung can be given away alone.
        key: Name of the access in the ledger.
        data: Which records of the ledger.
        tier: How noise is drawn.
        attack: Attacks each record first; the clip comes after it.
        progress: Told (records done, records in all).

    Returns:
        One rung for each epsilon, largest first; a single exact one without a ladder.
    """
    epsilons = ladder.epsilons if ladder is not None else (math.inf,)
    paths = [folder / f"rung-{i}.safetensors" for i in range(len(epsilons))]
    if not all(path.exists() for path in paths):
        access = _access(key, data, ladder, tier, attacked=attack is not None)
        sums = statistics.sums(ledger.read(access), attack=attack, progress=progress)
        _store(_noised(sums, ladder, tier), paths)
        del sums
    ledger.finish(key)
    return [Rung(epsilon=eps, **load_file(path)) for eps, path in zip(epsilons, paths, strict=True)]


def sharded_sums(statistics: Statistics, records: Records, shards: int) -> Sums:
    """The same sums as in one pass, bit for bit, from `shards` passes over parts of the records."""
    total = statistics.zeros()
    bounds = [len(records.y) * i // shards for i in range(shards + 1)]
    for start, stop in zip(bounds, bounds[1:], strict=False):
        part = Records(x=records.x[start:stop], y=records.y[start:stop])
        total = total + statistics.sums(part)
    return total


def _access(key: str, data: str, ladder: Ladder | None, tier: Tier, *, attacked: bool) -> Access:
    purpose = f"moments of {'attacked ' if attacked else ''}records under public networks"
    if ladder is None:
        return Access(key=key, data=data, purpose=f"{purpose}, exact", kind="open")
    return Access(
        key=key,
        data=data,
        purpose=f"{purpose}; {TIERS[tier]}",
        kind="gaussian",
        ladder=ladder.multipliers(),
        sensitivity=CLIP,
    )


def _noised(sums: Sums, ladder: Ladder | None, tier: Tier) -> list[dict[str, Tensor]]:
    """The sums with the noise of each rung; all noise is drawn here and nowhere else."""
    cut = sums.first.numel()
    values = torch.cat([sums.first.flatten(), sums.second.flatten()]).double()
    rungs, before = [], 0.0
    for multiplier in ladder.multipliers() if ladder is not None else ():
        std = GRID * CLIP * math.sqrt(multiplier**2 - before**2)
        values = values + gaussian(len(values), std=std, tier=tier)
        rungs.append(values)
        before = multiplier
    return [
        {
            "first": value[:cut].reshape(sums.first.shape),
            "second": value[cut:].reshape(sums.second.shape),
        }
        for value in (rungs or [values])
    ]


def _store(rungs: Sequence[dict[str, Tensor]], paths: Sequence[Path]) -> None:
    """Write all rungs under temporary names, then rename: a rung is whole or absent."""
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    parts = [path.with_suffix(".part") for path in paths]
    for tensors, part in zip(rungs, parts, strict=True):
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part)
    for part, path in zip(parts, paths, strict=True):
        part.replace(path)
