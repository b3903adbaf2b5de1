"""The release: sums of T drawn once, with the noise of every rung of a ladder of epsilons.

The noise of the largest epsilon is drawn first; each smaller one adds N(0, (σ² - σ_prev²) C²) to
the rung above. A reader of one rung has that rung's epsilon, and all rungs together cost the
largest, since every other is computed from it. The increments are as secret as the first noise:
they are stored nowhere but in the rungs. What would need another record's company, or another run,
to be the same is refused before T is read (`moc.evidence.isolation`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from moc.data._vault import Records
from moc.errors import PrivacyError
from moc.evidence import rungs
from moc.evidence.access import Access
from moc.evidence.accountant import noise_multiplier
from moc.evidence.isolation import require_isolated
from moc.evidence.noise import TIERS, Tier, gaussian
from moc.evidence.statistics import CLIP, GRID, RecordAttack, Statistics
from moc.evidence.sums import Sums

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from moc.evidence.accountant import Gaussian
    from moc.evidence.ledger import Ledger


_DATA = "train"  # T by its name in the ledger


class NamedAttack(RecordAttack, Protocol):
    """A `RecordAttack` that can be paid for: it says what it does to a record."""

    def words(self) -> str:
        """Everything that decides what it makes of a record, for the ledger."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The rungs of a study and the share of the budget that one release takes of each.

    Attributes:
        epsilons: Largest first.
        delta: One for all rungs.
        share: Share of 1/σ², which is what composes: shares of several releases sum to one.
        beside: What the reader of any rung is charged besides these releases.
    """

    epsilons: tuple[float, ...]
    delta: float = 1e-5
    share: float = 1.0
    beside: tuple[Gaussian, ...] = ()

    def __post_init__(self) -> None:
        """Check the order of the rungs, and the share."""
        falling = all(a > b for a, b in pairwise((math.inf, *self.epsilons, 0.0)))
        if not self.epsilons or not falling:
            raise PrivacyError(
                f"A ladder of positive epsilons, largest first, expected; found {self.epsilons}."
            )
        if not 0 < self.share <= 1:
            raise PrivacyError(f"A share of the budget in (0, 1] expected, found {self.share}.")

    def multipliers(self) -> tuple[float, ...]:
        """Noise multiplier of each rung, smallest first."""
        return tuple(
            noise_multiplier(eps, delta=self.delta, beside=self.beside) / math.sqrt(self.share)
            for eps in self.epsilons
        )


def draw(
    ledger: Ledger,
    statistics: Statistics,
    ladder: Ladder | None,
    *,
    folder: Path,
    key: str = "release/clean",
    tier: Tier = "standard",
    attack: NamedAttack | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[rungs.Rung]:
    """Draw the release, or read back the one that was drawn.

    Args:
        ledger: Pays; refuses a second draw and any spending over the budget before T is read.
        statistics: What is summed.
        ladder: The rungs; None for exact sums, which only an open study may have.
        folder: Where the rungs are stored, one file each, so that a rung can be given away alone;
            used for nothing else.
        key: Name of the access in the ledger.
        tier: How noise is drawn.
        attack: Attacks each `train` record by itself; the clip comes after it. Whatever it knows of
            T must come from a release, and from the smallest rung of it: every rung drawn here
            carries what the attack knew.
        progress: Told (records done, records in all).

    Returns:
        One rung for each epsilon, largest first; a single exact one without a ladder.

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
    records = "records" if attack is None else f"attacked records ({attack.words()})"
    access = _access(key, ladder, tier, purpose=f"moments of {records} under {statistics.words()}")
    claims = rungs.claims(access, ladder)
    paths = [folder / f"rung-{i}.safetensors" for i in range(len(claims))]
    if all(path.exists() for path in paths):
        ledger.confirm(access)
    else:
        if not ledger.is_finished(key):
            rungs.require_empty(folder)
        if ladder is not None:
            require_isolated(statistics, attack)
        sums = statistics.sums(ledger.read(access), attack=attack, progress=progress)
        rungs.store(noised(sums, ladder, tier), claims, paths)
        del sums
    ledger.finish(key)
    found = [rungs.load(*one) for one in zip(paths, claims, strict=True)]
    return rungs.as_rungs(found, ladder)


def sharded_sums(statistics: Statistics, records: Records, shards: int) -> Sums:
    """The same sums as in one pass, bit for bit, from `shards` passes over parts of the records."""
    total = statistics.zeros()
    bounds = [len(records.y) * i // shards for i in range(shards + 1)]
    for start, stop in pairwise(bounds):
        part = Records(x=records.x[start:stop], y=records.y[start:stop])
        total = total + statistics.sums(part)
    return total


def _access(key: str, ladder: Ladder | None, tier: Tier, *, purpose: str) -> Access:
    if ladder is None:
        return Access(key=key, data=_DATA, purpose=f"{purpose}, exact", kind="open")
    return Access(
        key=key,
        data=_DATA,
        purpose=f"{purpose}; {TIERS[tier]}",
        kind="gaussian",
        ladder=ladder.multipliers(),
        sensitivity=CLIP,
    )


def noised(sums: Sums, ladder: Ladder | None, tier: Tier) -> list[dict[str, Tensor]]:
    """The sums with the noise of each rung; all noise is drawn here and nowhere else."""
    values = sums.flat().double()
    vectors, before = [], 0.0
    for multiplier in ladder.multipliers() if ladder is not None else ():
        std = GRID * CLIP * math.sqrt(multiplier**2 - before**2)
        values = values + gaussian(len(values), std=std, tier=tier)
        vectors.append(values)
        before = multiplier
    blocks = sums.blocks()
    sizes = [block.numel() for block in blocks.values()]
    return [
        {
            name: part.reshape(block.shape)
            for (name, block), part in zip(blocks.items(), value.split(sizes), strict=True)
        }
        for value in (vectors or [values])
    ]
