"""The ledger: the single owner of T. Whoever reads a record asks here, and pays.

A private study has a budget (epsilon, delta). Every access is checked against it before a record
is read, written to `privacy.jsonl`, and composed with all others by `moc.privacy.accountant`. The
ledger is the only source of an epsilon that moc reports.

The number of records N is declared public and never changes with a neighbour: to remove a record is
to leave its place empty, so that it contributes nothing and every other record keeps its place, in
a public random split too.
"""

from __future__ import annotations

import math
from pathlib import Path

from moc.data.declared import DataInfo
from moc.data.vault import RealData, Records, unseal
from moc.errors import BudgetExceededError, PrivacyError
from moc.privacy.access import ADJACENCY, UNIT, Access, Budget
from moc.privacy.accountant import ACCOUNTANT, Gaussian, epsilon, exact_epsilon
from moc.privacy.journal import Journal


class Ledger:
    """Owns the records of a study and counts every access to them.

    Attributes:
        budget: What may be spent; None for an open study.
    """

    def __init__(self, budget: Budget | None, *, path: Path | None = None) -> None:
        """Start a ledger, or take up the one at `path` where it was left."""
        self.budget = budget
        self._journal = Journal(path)
        self._owned: dict[str, tuple[RealData, bool]] = {}

    def own(self, name: str, data: RealData, *, public: bool = False) -> DataInfo:
        """Take over records under a name; `public` only for records declared public by the user."""
        if name in self._owned:
            raise PrivacyError(f"The ledger owns {name!r} records already.")
        self._owned[name] = (data, public)
        return data.info

    def read(self, access: Access) -> Records:
        """Pay for an access and return the records. For `moc.privacy` and `moc.evidence` only.

        Raises:
            BudgetExceededError: If the budget does not allow it; no record has been read then.
            PrivacyError: If the access is of a kind that is never allowed here, or was finished
                before: a release is never drawn twice.
        """
        data, _ = self._held(access.data)
        self.reserve(access)
        return unseal(data)

    def reserve(self, access: Access) -> None:
        """Pay for an access without reading yet; repeating an unfinished one costs nothing more."""
        self._check(access)
        if access.key not in self._journal.accesses:
            self._journal.reserve(access)

    def finish(self, key: str) -> None:
        """Record that what the access bought has been stored: it can never be drawn again."""
        self._paid(key)
        if not self.is_finished(key):
            self._journal.finish(key)

    def confirm(self, access: Access) -> None:
        """Check that exactly this access was paid for, for results of it that are found stored.

        Raises:
            PrivacyError: If it was not, or with other settings.
        """
        known = self._paid(access.key)
        if known != access:
            raise PrivacyError(
                f"{access.key!r} was paid for as «{known.describe()}», not as "
                f"«{access.describe()}». "
                "Settings of a release cannot change after it was begun; start a new study."
            )

    def use(self, key: str) -> None:
        """Count one of the mechanisms that an access paid for, before its noise is drawn.

        Raises:
            PrivacyError: If all of them have been used, by this run or an earlier one.
        """
        access = self._paid(key)
        if self.used(key) >= access.count:
            raise PrivacyError(
                f"All {access.count} mechanism(s) that {key!r} paid for have been used. "
                "Plan for more of them in a new study."
            )
        self._journal.use(key)

    def used(self, key: str) -> int:
        """How many of the mechanisms of an access have been used."""
        return self._journal.used.get(key, 0)

    def is_finished(self, key: str) -> bool:
        """Whether this access has been finished."""
        return key in self._journal.finished

    def info(self, name: str) -> DataInfo:
        """What is declared public about these records."""
        return self._held(name)[0].info

    def is_public(self, name: str) -> bool:
        """Whether these records were declared public."""
        return self._held(name)[1]

    @property
    def accesses(self) -> tuple[Access, ...]:
        """All accesses, in order."""
        return tuple(self._journal.accesses.values())

    def epsilon(self, rung: int = 0) -> float:
        """Epsilon at the budget's delta for a reader of this rung and of everything unladdered.

        It covers what was made from this rung (or from one below it, or from public records) and
        nothing else. What was chosen by looking at results from rungs above, such as a weighting
        that a search asked for after it had seen their scores, is covered by rung 0, the total.
        Infinity in an open study.
        """
        if self.budget is None:
            return math.inf
        return epsilon(_mechanisms(self.accesses, rung), delta=self.budget.delta)

    def describe(self) -> tuple[str, ...]:
        """The ledger for a person: one line an access, then the total."""
        lines = [access.describe() for access in self.accesses]
        if self.budget is None:
            return (*lines, "total: not private (open study)")
        return (
            *lines,
            f"total: epsilon {self.epsilon():.4g} at delta {self.budget.delta:g} of a budget of "
            f"{self.budget.epsilon:g} ({ADJACENCY}; unit: {UNIT}; accountant: {ACCOUNTANT})",
        )

    def _check(self, access: Access) -> None:
        if self.is_finished(access.key):
            raise PrivacyError(
                f"{access.key!r} has been drawn; drawing it again would be a second release. "
                "Use the stored one, or start a new study with its own budget."
            )
        if access.key in self._journal.accesses:
            self.confirm(access)
        if access.kind == "public" and not self.is_public(access.data):
            raise PrivacyError(f"The {access.data!r} records were not declared public.")
        if access.kind == "open" and self.budget is not None:
            raise PrivacyError(
                f"{access.key!r} reads {access.data!r} records without noise, which a study with a "
                "privacy budget refuses. Remove [privacy] from the study file to make it open."
            )
        access.check()
        self._check_budget(access)

    def _held(self, name: str) -> tuple[RealData, bool]:
        if name not in self._owned:
            known = ", ".join(self._owned) or "none"
            raise PrivacyError(f"The ledger owns no {name!r} records; it owns: {known}.")
        return self._owned[name]

    def _paid(self, key: str) -> Access:
        if key not in self._journal.accesses:
            raise PrivacyError(
                f"{key!r} was never paid for in this ledger. If its results lie in the study's "
                "folder, they belong to another study: remove them, or use that study's ledger."
            )
        return self._journal.accesses[key]

    def _check_budget(self, access: Access) -> None:
        if self.budget is None or access.kind != "gaussian":
            return
        others = tuple(a for a in self.accesses if a.key != access.key)
        mechanisms = _mechanisms((*others, access), 0)
        limit, delta = self.budget.epsilon * (1 + 1e-9), self.budget.delta
        needed = exact_epsilon(mechanisms, delta=delta)
        if needed <= limit:  # the accountant is slow where epsilon is large, and never below this
            needed = epsilon(mechanisms, delta=delta)
        if needed > limit:
            raise BudgetExceededError(
                f"{access.key!r} would bring the study to epsilon {needed:.4g}; the budget is "
                f"{self.budget.epsilon:g} at delta {self.budget.delta:g}. Nothing was read."
            )


def _mechanisms(accesses: tuple[Access, ...], rung: int) -> list[Gaussian]:
    return [part for access in accesses for part in access.mechanism(rung)]
