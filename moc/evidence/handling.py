"""What an audit sees of a release besides its size: what is in it, whence its noise, what is kept.

The release's own code works on public records under one network of the study. Nothing is read of T.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from moc.data.real import RealData
from moc.errors import PrivacyError
from moc.evidence import noise, release
from moc.evidence.access import Budget
from moc.evidence.isolation import probes
from moc.evidence.ledger import Ledger
from moc.evidence.moments import Moments
from moc.evidence.sums import Sums

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from moc.evidence.noise import Tier
    from moc.evidence.release import Ladder
    from moc.evidence.rungs import Rung
    from moc.evidence.statistics import Statistics

_DRAWS = 1000  # of noise; among so many, a seed of 17 bits repeats itself


@dataclass(frozen=True, kw_only=True)
class HandlingReport:
    """What is wrong with a release around its sums.

    Attributes:
        name: What was examined.
        faults: One sentence each; none if all is well.
    """

    name: str
    faults: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def words(self) -> str:
        """One line for a person."""
        if self.faults:
            return f"{self.name}: FAILED; {'; '.join(self.faults)}"
        return (
            f"{self.name}: passed; nothing is published but sums with noise in every coordinate; "
            "noise never repeats and follows no seed; a stored release reads back the same; "
            "condensation starts from public noise"
        )


def audit_handling(statistics: Statistics, ladder: Ladder, tier: Tier) -> HandlingReport:
    """Look for what no attack on a single record's trace would show.

    Args:
        statistics: The study's; one of its networks is used.
        ladder: The study's.
        tier: How the study draws noise.
    """
    one = replace(statistics, networks=1)
    faults = (*_published(one, ladder, tier), *_noise(tier), *_stored(one, ladder, tier))
    return HandlingReport(name="handling of the release", faults=faults)


def _published(statistics: Statistics, ladder: Ladder, tier: Tier) -> Iterator[str]:
    sums = statistics.sums(probes(statistics.bank.info, statistics.batch))
    shapes = {name: block.shape for name, block in sums.blocks().items()}
    drawn = [release.noised(sums, ladder, tier) for _ in range(3)]
    for rungs in zip(*drawn, strict=True):
        if any({name: t.shape for name, t in rung.items()} != shapes for rung in rungs):
            yield "a release holds something besides its sums"
            return
        for name in shapes:
            first, second, third = (rung[name] for rung in rungs)
            if ((first == second) & (second == third)).any():
                yield f"a coordinate of {name!r} is published without noise"


def _noise(tier: Tier) -> Iterator[str]:
    """Draws with every generator of torch in the same state, as if someone had seeded it."""
    found = set()
    with torch.random.fork_rng():
        for _ in range(_DRAWS):
            torch.manual_seed(0)
            found.add(tuple(noise.gaussian(2, std=1e6, tier=tier).tolist()))
    if len(found) < _DRAWS:
        yield f"noise came twice in {_DRAWS} draws, so it follows a seed or a clock"


def _stored(statistics: Statistics, ladder: Ladder, tier: Tier) -> Iterator[str]:
    public = probes(statistics.bank.info, statistics.batch)
    starts = []
    for x in (public.x, 1.0 - public.x):
        try:
            first, again = _draw_twice(statistics, ladder, tier, x, public.y)
        except PrivacyError as error:
            yield f"no release can be drawn: {error}"
            return
        for a, b in zip(first, again, strict=True):
            names = (one.name for one in fields(Sums))
            if not all(torch.equal(getattr(a, name), getattr(b, name)) for name in names):
                yield f"the stored rung of epsilon {a.epsilon:g} does not read back the same"
        starts.append(Moments(statistics, first).start(public.y[:20], seed=0, rung=0))
    if not torch.equal(*starts):
        yield "condensation starts from something that depends on the records"


def _draw_twice(
    statistics: Statistics, ladder: Ladder, tier: Tier, x: Tensor, y: Tensor
) -> tuple[list[Rung], list[Rung]]:
    ledger = Ledger(Budget(epsilon=ladder.epsilons[0], delta=ladder.delta))
    info = replace(statistics.bank.info, count=len(y))
    ledger.own("train", RealData(info=info, x=x, y=y))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "release"
        first, again = (
            release.draw(ledger, statistics, ladder, folder=folder, tier=tier) for _ in range(2)
        )
    return first, again
