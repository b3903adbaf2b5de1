"""The ledger: the single owner of T. Whoever reads a record asks here, and pays.

A private study has a budget (epsilon, delta). Every access is checked against it before a record
is read, written to `privacy.jsonl`, and composed with all others by `moc.privacy.accountant`. The
ledger is the only source of an epsilon that moc reports. What is drawn is written beforehand to the
ledger of the data set too (`moc.privacy.data_set`), where all studies of the same records add up.

The number of records N is declared public and never changes with a neighbour: to remove a record is
to leave its place empty, so that it contributes nothing and every other record keeps its place, in
a public random split too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from moc.data.declared import DataInfo
from moc.data.vault import RealData, Records, take, unseal
from moc.errors import BudgetExceededError, PrivacyError
from moc.privacy.access import ADJACENCY, UNIT, Access, Budget
from moc.privacy.accountant import ACCOUNTANT, Gaussian, epsilon
from moc.privacy.data_set import DataSetLedger
from moc.privacy.journal import Journal


class Ledger:
    """Owns the records of a study and counts every access to them.

    Attributes:
        budget: What may be spent; None for an open study.
        data_set: Where all studies of the same records add up; None for records of no data set,
            such as those of an audit.
    """

    def __init__(
        self,
        budget: Budget | None,
        *,
        path: Path | None = None,
        data_set: DataSetLedger | None = None,
    ) -> None:
        """Start a ledger, or take up the one at `path` where it was left."""
        self.budget, self.data_set = budget, data_set
        self._journal = Journal(path)
        self._owned: dict[str, tuple[RealData, bool]] = {}
        self._digests: dict[str, frozenset[bytes]] = {}

    def own(self, name: str, data: RealData, *, public: bool = False) -> DataInfo:
        """Take over records under a name, for good.

        Args:
            name: What they are called here.
            data: The records, which nobody else owns.
            public: Only for records declared public by the user.

        Raises:
            PrivacyError: If they have an owner, or if some are both public and not.
        """
        if name in self._owned:
            raise PrivacyError(f"The ledger owns {name!r} records already.")
        self._digests[name] = data.digests()
        if self.budget is not None:
            self._require_apart(name, public)
        take(data, divisible=self.budget is None)
        self._owned[name] = (data, public)
        return data.info

    def hold(self) -> tuple[str, ...]:
        """Hold this ledger to the content of the records that it owns, if it is held to none yet.

        What it is held to stays in its file, which is its owner's alone: a fingerprint confirms
        whoever has a candidate for T.

        Returns:
            Names of records that are others than those that it was held to before.
        """
        found = {name: data.fingerprint() for name, (data, _) in self._owned.items()}
        if self._journal.data is None and not any(one.kind == "gaussian" for one in self.accesses):
            self._journal.hold(found)
        known = self._journal.data or {}
        return tuple(name for name in {**known, **found} if known.get(name) != found.get(name))

    def read(self, access: Access) -> Records:
        """Pay for an access and return the records. For `moc.privacy` and `moc.evidence` only.

        Raises:
            BudgetExceededError: If the budget does not allow it; no record has been read then.
            PrivacyError: If the access is of a kind that is never allowed here, or was finished
                before: a release is never drawn twice.
        """
        data, _ = self._held(access.data)
        self.reserve(access)
        if access.kind == "open":
            self._spend(access)
        return unseal(data)

    def reserve(self, access: Access) -> None:
        """Pay for an access without reading yet; repeating one costs nothing before it is begun."""
        self._check(access)
        if access.kind != "public":
            self.require_room()
        if access.key not in self._journal.accesses:
            self._journal.reserve(access)

    def require_room(self) -> None:
        """Refuse to go on if all studies of the same records would overspend their budget.

        Raises:
            BudgetExceededError: With what is left, and what would fit.
        """
        if self.data_set is not None:
            self.data_set.require_room(self.private_records, self.budget, drawn=self._journal.draws)

    def spent_before(self) -> str:
        """What studies of the same records have spent in all, in words; empty if nothing."""
        if self.data_set is None or not self.data_set.spent(self.private_records):
            return ""
        return self.data_set.describe(self.private_records)[-1]

    def begin(self, key: str) -> None:
        """Write down that noise is about to be drawn: from now on it counts, found again or not."""
        self._journal.begin(key, self._spend(self._paid(key)))

    def begun(self, key: str) -> int:
        """How many times an access was begun; each is a draw that somebody may have seen."""
        return len(self._journal.begun.get(key, ()))

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
        if self.data_set is not None and self.budget is not None:
            for draw in self._journal.begun.get(access.key, ()):
                self.data_set.restore(
                    self.private_records, access, delta=self.budget.delta, draw=draw
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
        self._journal.use(key, self._spend(replace(access, count=1)))

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

    def streams(self, name: str) -> bool:
        """Whether these records lie in files, so that they are only ever summed."""
        return unseal(self._held(name)[0]).streamed

    @property
    def drawn(self) -> bool:
        """Whether noise was drawn for anything that stands in its file, or may have been."""
        return bool(self._journal.draws or self._journal.finished)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the records that this ledger owns."""
        return tuple(self._owned)

    @property
    def private_records(self) -> frozenset[bytes]:
        """Digests of all that is not public here, by which studies of the same records are found.

        In an open study that is everything.
        """
        private = (name for name, (_, public) in self._owned.items() if not public)
        return frozenset[bytes]().union(*map(self._digests.__getitem__, private))

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
        return epsilon(self._mechanisms(self.accesses, rung), delta=self.budget.delta)

    def describe(self) -> tuple[str, ...]:
        """The ledger for a person: one line an access, then the total."""
        lines = [
            access.describe()
            + (f"; begun {n} times, which all count" if (n := self.begun(access.key)) > 1 else "")
            for access in self.accesses
        ]
        if self.budget is None:
            return (*lines, "total: not private (open study)")
        return (
            *lines,
            f"total: epsilon {self.epsilon():.4g} at delta {self.budget.delta:g} of a budget of "
            f"{self.budget.epsilon:g} ({ADJACENCY}; unit: {UNIT}; accountant: {ACCOUNTANT})",
        )

    def _require_apart(self, name: str, public: bool) -> None:
        """Refuse records that would be public under one name and private under another."""
        for other, (_, is_public) in self._owned.items():
            count = len(self._digests[name] & self._digests[other])
            if count and public != is_public:
                raise PrivacyError(
                    f"{count} records are both in {name!r} and in {other!r}, of which only one is "
                    "declared public: a record is public or private, not both. Remove the copies."
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

    def _spend(self, access: Access) -> str:
        """Name a draw, and write it to the ledger of the data set."""
        draw = uuid4().hex
        if self.data_set is not None:
            delta = self.budget.delta if self.budget else 1e-5
            self.data_set.spend(self.private_records, access, delta=delta, draw=draw)
        return draw

    def _check_budget(self, access: Access) -> None:
        if self.budget is None or access.kind != "gaussian":
            return
        others = tuple(a for a in self.accesses if a.key != access.key)
        again = self.begun(access.key)
        mechanisms = [*self._mechanisms(others, 0), *access.mechanism(0) * (again + 1)]
        needed = self.budget.exceeded_by(mechanisms)
        if needed is not None:
            lost = (
                f" {again + 1} times, as what was drawn before is not to be found and counts"
                if again
                else ""
            )
            raise BudgetExceededError(
                f"{access.key!r}{lost} would bring the study to epsilon {needed:.4g}; the budget "
                f"is {self.budget.epsilon:g} at delta {self.budget.delta:g}. Nothing was read."
            )

    def _mechanisms(self, accesses: Iterable[Access], rung: int) -> list[Gaussian]:
        """What a reader of a rung is charged, every draw of it."""
        return [
            part
            for access in accesses
            for part in access.mechanism(rung) * max(self.begun(access.key), 1)
        ]
