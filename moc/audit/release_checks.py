"""What an audit sees of a release besides its size: what is in it, whence its noise, what is kept.

The release's own code works on public records under one network of the study. Nothing is read of T.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from moc.audit.finding import Finding
from moc.data.vault import RealData
from moc.errors import PrivacyError
from moc.evidence.moments import Moments
from moc.privacy import noise, release
from moc.privacy.access import Budget
from moc.privacy.collect import CLIP, Collection
from moc.privacy.isolation import largest_move, probes, require_isolated
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.noise import Tier
from moc.privacy.release import Released

_DRAWS = 1000  # of noise; among so many, a seed of 17 bits repeats itself


def audit_isolation(collection: Collection) -> Finding:
    """Whether the study's networks keep records apart, and how far one record moves the sums."""
    fault = ""
    try:
        require_isolated(collection)
    except PrivacyError as error:
        fault = str(error)
    public = probes(collection.bank.info, 3)
    moved = largest_move(lambda part: collection.sums(part).flat(), public) / CLIP
    apart = fault or "what a record adds is the same in any company, to the last bit"
    return Finding(
        name=f"{collection.networks} networks of the study",
        passed=not fault and moved <= 1.0,
        details=(
            f"{apart}; one public record moved the sums by at most {moved:.6f} of the sensitivity"
        ),
        values={"moved": moved},
    )


def audit_handling(collection: Collection, ladder: Ladder, tier: Tier) -> Finding:
    """Look for what no attack on a single record's trace would show.

    Args:
        collection: The study's; one of its networks is used.
        ladder: The study's.
        tier: How the study draws noise.
    """
    one = replace(collection, networks=1)
    faults = [*_published(one, ladder, tier), *_noise(tier), *_stored(one, ladder, tier)]
    well = (
        "nothing is published but sums with noise in every coordinate; noise never repeats and "
        "follows no seed; a stored release reads back the same; what is condensed of its sums, a "
        "set or the proxy that sets are made from, starts from public noise"
    )
    return Finding(
        name="handling of the release",
        passed=not faults,
        details="; ".join(faults) or well,
        values={"faults": float(len(faults))},
    )


def _published(collection: Collection, ladder: Ladder, tier: Tier) -> Iterator[str]:
    sums = collection.sums(probes(collection.bank.info, collection.batch))
    shapes = {name: block.shape for name, block in sums.items()}
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
        torch.manual_seed(0)  # once: it writes down where it was called, for every kind of device
        here = torch.get_rng_state()
        there = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        for _ in range(_DRAWS):
            torch.set_rng_state(here)
            torch.cuda.set_rng_state_all(there)
            found.add(tuple(noise.gaussian(2, std=1e6, tier=tier).tolist()))
    if len(found) < _DRAWS:
        yield f"noise came twice in {_DRAWS} draws, so it follows a seed or a clock"


def _stored(collection: Collection, ladder: Ladder, tier: Tier) -> Iterator[str]:
    public = probes(collection.bank.info, collection.batch)
    starts = []
    for x in (public.x, 1.0 - public.x):
        try:
            first, again = _draw_twice(collection, ladder, tier, x, public.y)
        except PrivacyError as error:
            yield f"no release can be drawn: {error}"
            return
        for a, b in zip(first, again, strict=True):
            if not all(torch.equal(a.blocks[name], b.blocks[name]) for name in a.blocks):
                yield f"the stored rung of sigma {a.noise:g} does not read back the same"
        starts.append(Moments([(collection, first)]).start(public.y[:20], seed=0, rung=0))
    if not torch.equal(*starts):
        yield "condensation of a release starts from something that depends on the records"


def _draw_twice(
    collection: Collection, ladder: Ladder, tier: Tier, x: Tensor, y: Tensor
) -> tuple[list[Released], list[Released]]:
    ledger = Ledger(Budget(epsilon=ladder.epsilons[0], delta=ladder.delta))
    info = replace(collection.bank.info, count=len(y))
    ledger.own("train", RealData(info=info, x=x, y=y))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "release"
        first, again = (
            release.draw(ledger, collection, ladder, folder=folder, tier=tier) for _ in range(2)
        )
    return first, again
