"""The privacy ledger of data sets: what all studies of the same records have spent, in one file.

It lies apart from any study and is keyed by what the records are, not by names or paths. Studies
whose private records have even one in common add up: a record that both hold is exposed to both.
Every draw of a release, every paid score and every reading without noise is written, and on the
disk, before it happens. The file confirms who is in a data set to whoever has a candidate, so only
its owner may read it, and it is never exported.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from moc.errors import BudgetExceededError, PrivacyError
from moc.privacy.access import ADJACENCY, UNIT, Access, Budget
from moc.privacy.accountant import ACCOUNTANT, Gaussian, epsilon, noise_multiplier, require_range
from moc.privacy.spendings import Digests, Spending, Spendings, declared, opened, spent

ENVIRONMENT = "MOC_LEDGER"
FILE = "moc-ledger.jsonl"


def places_of(data: Path | None, named: Path | None) -> tuple[Path, ...]:
    """Where the ledger of a data set lies.

    Args:
        data: Folder of its files, if it has any.
        named: The file that a study names.

    Returns:
        What the study and the environment name, if they name any. Else a file beside the data, for
        everybody who works on them, if it is there or can be written, and one of the user's own,
        which stays when the data move.
    """
    given = os.environ.get(ENVIRONMENT)
    if chosen := [path for path in (named, Path(given) if given else None) if path is not None]:
        return tuple(path / FILE if path.is_dir() else path for path in chosen)
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    own = Path(state).expanduser() / "moc" / FILE
    if data is None or not ((data / FILE).exists() or os.access(data, os.W_OK)):
        return (own,)
    return (data / FILE, own)


class DataSetLedger:
    """What was spent on records, at one or more places that say the same.

    Attributes:
        places: The files; what stands in any of them counts, and new lines go to all.
        study: Whose spending is written.
    """

    def __init__(self, places: Sequence[Path], *, study: str = "") -> None:
        """Keep a ledger at `places`; nothing is written before something is spent."""
        resolved = (path.expanduser().resolve() for path in places)
        self.places, self.study = tuple(dict.fromkeys(resolved)), study

    def spend(self, records: Digests, access: Access, *, delta: float, draw: str) -> None:
        """Write what is about to be done to `records`; returns once it is on the disk.

        Raises:
            BudgetExceededError: If a budget was declared for them, and does not allow it.
            PrivacyError: If a place cannot be read or written.
        """
        with opened(self.places, write=True) as found:
            if draw not in found.draws:
                _require_room(found, records, access.mechanism(0))
                found.add(records, spent(access, draw=draw, study=self.study, delta=delta))

    def restore(self, records: Digests, access: Access, *, delta: float, draw: str) -> None:
        """Write what was drawn before, if it is not known here: the file was lost, or is another.

        Raises:
            PrivacyError: If a place cannot be read or written.
        """
        with opened(self.places, write=True) as found:
            if draw not in found.draws:
                found.add(records, spent(access, draw=draw, study=self.study, delta=delta))

    def require_room(
        self, records: Digests, study: Budget | None, *, drawn: Collection[str]
    ) -> None:
        """Refuse a study that would overspend the budget of the data set, before it begins.

        Args:
            records: Its private records.
            study: What it may spend in all; None for an open one.
            drawn: Its own draws so far, which its budget covers.

        Raises:
            BudgetExceededError: With what is left, and what would fit.
        """
        sigma = 0.0 if study is None else noise_multiplier(study.epsilon, delta=study.delta)
        with opened(self.places, write=False) as found:
            _require_room(found, records, [Gaussian(noise_multiplier=sigma)], without=drawn)

    def declare(self, records: Digests, budget: Budget) -> None:
        """Set the budget of all studies of these records together; the last one set counts."""
        require_range(budget.epsilon, budget.delta)
        if budget.delta * len(records) >= 1:
            raise PrivacyError(
                f"A delta below 1/{len(records)}, one over the number of private records, "
                f"expected, found {budget.delta:g}."
            )
        with opened(self.places, write=True) as found:
            found.add(records, declared(budget))

    def spent(self, records: Digests) -> tuple[Spending, ...]:
        """All that was done to data sets that share a record with these, in order."""
        with opened(self.places, write=False) as found:
            return found.of(records)

    def describe(self, records: Digests) -> tuple[str, ...]:
        """For a person: a line a study, then what all of them cost together."""
        with opened(self.places, write=False) as found:
            done, budget = found.of(records), found.budget(records)
        delta = budget.delta if budget else min((one.delta for one in done), default=1e-5)
        names = dict.fromkeys(one.study for one in done)
        return (
            f"{len(records)} private records; privacy ledger of the data set: "
            f"{', '.join(map(str, self.places))}",
            *(_study(name, [one for one in done if one.study == name], delta) for name in names),
            _total(done, len(names), budget, delta),
        )


def _require_room(
    found: Spendings,
    records: Digests,
    more: Sequence[Gaussian],
    *,
    without: Collection[str] = (),
) -> None:
    budget = found.budget(records)
    if budget is None:
        return
    before = _mechanisms([one for one in found.of(records) if one.draw not in without])
    needed = budget.exceeded_by([*before, *more])
    if needed is None:
        return
    fits = _fitting(budget, before)
    cure = f"a study of epsilon {fits:g} would fit" if fits else "nothing more fits"
    raise BudgetExceededError(
        f"The studies of this data set have spent {_words(before, budget.delta)} of its budget of "
        f"{budget.epsilon:g} at delta {budget.delta:g}, and this would make it "
        f"{'no privacy at all' if math.isinf(needed) else f'{needed:.4g}'}: {cure}. Nothing was "
        "read; `moc ledger STUDY` lists what was spent."
    )


def _fitting(budget: Budget, before: Sequence[Gaussian]) -> float:
    """Largest epsilon, to three digits, that a study at the budget's delta may still have."""
    whole = noise_multiplier(budget.epsilon, delta=budget.delta) ** -2
    used = sum(m.count / m.noise_multiplier**2 if m.noise_multiplier else math.inf for m in before)
    if not whole - used > 1e-9:
        return 0.0
    value = epsilon([Gaussian(noise_multiplier=(whole - used) ** -0.5)], delta=budget.delta)
    step = 10.0 ** (math.floor(math.log10(value)) - 2) if value > 0 else 1.0
    return round(max(math.floor(value / step) - 1, 0) * step, 9)


def _mechanisms(done: Sequence[Spending], rung: int = 0) -> list[Gaussian]:
    return [part for one in done for part in one.access.mechanism(rung)]


def _words(mechanisms: Sequence[Gaussian], delta: float) -> str:
    value = epsilon(mechanisms, delta=delta)
    return "no privacy: read without noise" if math.isinf(value) else f"epsilon {value:.4g}"


def _study(name: str, done: Sequence[Spending], delta: float) -> str:
    rungs = max(max(len(one.access.ladder) for one in done), 1)
    costs = ", ".join(_words(_mechanisms(done, rung), delta) for rung in range(rungs))
    each = f" (by rung: {costs})" if rungs > 1 else ""
    keys = dict.fromkeys(one.access.key for one in done)
    draws = ", ".join(f"{sum(o.access.key == key for o in done)} of {key}" for key in keys)
    since = min(one.when for one in done)[:10]
    return f"{name}, since {since}: {_words(_mechanisms(done), delta)}{each}; drawn: {draws}"


def _total(done: Sequence[Spending], studies: int, budget: Budget | None, delta: float) -> str:
    of = f" of a budget of {budget.epsilon:g}" if budget else "; no budget is declared for them"
    lowest = _words(_mechanisms(done, 10**6), delta)
    apart = f"; who reads the lowest rung of each alone: {lowest}" if done else ""
    return (
        f"total over {studies} studies: {_words(_mechanisms(done), delta)} at delta {delta:g}{of}"
        f"{apart} ({ADJACENCY}; unit: {UNIT}; accountant: {ACCOUNTANT})"
    )
