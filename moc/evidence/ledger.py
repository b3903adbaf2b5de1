"""The ledger: the single owner of T. Whoever reads a record asks here, and pays.

A private study has a budget (epsilon, delta). Every access is checked against it before a record
is read, written to `privacy.jsonl`, and composed with all others by `moc.evidence.accountant`. The
ledger is the only source of an epsilon that moc reports.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from moc.data._vault import Records, unseal
from moc.errors import BudgetExceededError, PrivacyError
from moc.evidence.accountant import ACCOUNTANT, Gaussian, epsilon

if TYPE_CHECKING:
    from pathlib import Path

    from moc.data.real import DataInfo, RealData

ADJACENCY = "add or remove one record"
UNIT = "one record"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a private study may spend in all: epsilon at delta, for adding or removing one record."""

    epsilon: float
    delta: float = 1e-5


@dataclass(frozen=True, kw_only=True)
class Access:
    """One planned reading of records.

    Attributes:
        key: Unique name within the study, such as `release/clean`.
        data: Name under which the ledger owns the records.
        purpose: What for, in words.
        kind: `gaussian` (sums with Gaussian noise), `public` (records declared public, free) or
            `open` (records read as they are: only without a budget).
        ladder: For `gaussian`: the noise multiplier of each rung, largest epsilon first; the
            rungs are nested, so all together cost what the first costs. One entry if not laddered.
        sensitivity: For `gaussian`: L2 sensitivity of the sums under `ADJACENCY`.
        count: How many such mechanisms are paid for.
    """

    key: str
    data: str
    purpose: str
    kind: Literal["gaussian", "public", "open"]
    ladder: tuple[float, ...] = ()
    sensitivity: float = 0.0
    count: int = 1

    def mechanism(self, rung: int) -> list[Gaussian]:
        """What a reader of this rung (0 = largest epsilon) is charged."""
        if self.kind != "gaussian":
            return []
        multiplier = self.ladder[min(rung, len(self.ladder) - 1)]
        return [Gaussian(noise_multiplier=multiplier, count=self.count)]

    def words(self) -> str:
        """One line for a person."""
        if self.kind == "public":
            return f"{self.key}: {self.purpose}; {self.data} records, declared public: free"
        if self.kind == "open":
            return f"{self.key}: {self.purpose}; {self.data} records read as they are: not private"
        noise = ", ".join(f"{sigma:.4g}" for sigma in self.ladder)
        return (
            f"{self.key}: {self.purpose}; {self.count} Gaussian mechanism(s) on {self.data} records, "
            f"L2 sensitivity {self.sensitivity:.4g} ({ADJACENCY}), noise multiplier {noise}"
        )


class Ledger:
    """Owns the records of a study and counts every access to them.

    Attributes:
        budget: What may be spent; None for an open study.
    """

    def __init__(self, budget: Budget | None, *, path: Path | None = None) -> None:
        """Start a ledger, or take up the one at `path` where it was left."""
        self.budget = budget
        self._path = path
        self._owned: dict[str, tuple[RealData, bool]] = {}
        self._accesses: dict[str, Access] = {}
        self._done: set[str] = set()
        if path is not None and path.exists():
            self._replay(path)

    def own(self, name: str, data: RealData, *, public: bool = False) -> DataInfo:
        """Take over records under a name; `public` only for records declared public by the user."""
        if name in self._owned:
            raise PrivacyError(f"The ledger owns {name!r} records already.")
        self._owned[name] = (data, public)
        return data.info

    def read(self, access: Access) -> Records:
        """Pay for an access and return the records. For modules of `moc.evidence` only.

        Raises:
            BudgetExceededError: If the budget does not allow it; no record has been read then.
            PrivacyError: If the access is of a kind that is never allowed here, or was finished
                before: a release is never drawn twice.
        """
        if access.data not in self._owned:
            known = ", ".join(self._owned) or "none"
            raise PrivacyError(f"The ledger owns no {access.data!r} records; it owns: {known}.")
        self.reserve(access)
        return unseal(self._owned[access.data][0])

    def reserve(self, access: Access) -> None:
        """Pay for an access without reading yet; repeating an unfinished one costs nothing more."""
        self._check(access)
        if access.key not in self._accesses:
            self._accesses[access.key] = access
            self._write({"event": "reserved", **asdict(access)})

    def finish(self, key: str) -> None:
        """Record that what the access bought has been stored: it can never be drawn again."""
        if key not in self._done:
            self._done.add(key)
            self._write({"event": "finished", "key": key})

    def is_finished(self, key: str) -> bool:
        """Whether this access has been finished."""
        return key in self._done

    def info(self, name: str) -> DataInfo:
        """What is declared public about these records."""
        return self._owned[name][0].info

    def is_public(self, name: str) -> bool:
        """Whether these records were declared public."""
        return self._owned[name][1]

    @property
    def accesses(self) -> tuple[Access, ...]:
        """All accesses, in order."""
        return tuple(self._accesses.values())

    def epsilon(self, rung: int = 0) -> float:
        """Epsilon at the budget's delta for a reader of this rung and of everything else.

        Infinity in an open study.
        """
        return self._composed(self.accesses, rung)

    def words(self) -> tuple[str, ...]:
        """The ledger for a person: one line an access, then the total."""
        lines = [access.words() for access in self.accesses]
        if self.budget is None:
            return (*lines, "total: not private (open study)")
        return (
            *lines,
            f"total: epsilon {self.epsilon():.4g} at delta {self.budget.delta:g} of a budget of "
            f"{self.budget.epsilon:g} ({ADJACENCY}; unit: {UNIT}; accountant: {ACCOUNTANT})",
        )

    def _composed(self, accesses: tuple[Access, ...], rung: int) -> float:
        if self.budget is None:
            return math.inf
        parts = [part for access in accesses for part in access.mechanism(rung)]
        return epsilon(parts, delta=self.budget.delta)

    def _check(self, access: Access) -> None:
        if access.key in self._done:
            raise PrivacyError(
                f"{access.key!r} has been drawn; drawing it again would be a second release. "
                "Use the stored one, or start a new study with its own budget."
            )
        known = self._accesses.get(access.key)
        if known is not None and known != access:
            raise PrivacyError(
                f"{access.key!r} was paid for as «{known.words()}», not as «{access.words()}». "
                "Settings of a release cannot change after it was begun; start a new study."
            )
        if access.kind == "public" and not self._owned[access.data][1]:
            raise PrivacyError(f"The {access.data!r} records were not declared public.")
        if access.kind == "open" and self.budget is not None:
            raise PrivacyError(
                f"{access.key!r} reads {access.data!r} records without noise, which a study with a "
                "privacy budget refuses. Remove [privacy] from the study file to make it open."
            )
        if access.kind == "gaussian" and (not access.ladder or min(access.ladder) <= 0):
            raise PrivacyError(f"{access.key!r}: a positive noise multiplier expected.")
        self._check_budget(access)

    def _check_budget(self, access: Access) -> None:
        if self.budget is None or access.kind != "gaussian":
            return
        others = tuple(a for a in self.accesses if a.key != access.key)
        needed = self._composed((*others, access), 0)
        # The calibration meets a rung to 1e-3; a total is compared with the same care.
        if needed > self.budget.epsilon * (1 + 1e-9) + 1e-3:
            raise BudgetExceededError(
                f"{access.key!r} would bring the study to epsilon {needed:.4g}; the budget is "
                f"{self.budget.epsilon:g} at delta {self.budget.delta:g}. Nothing was read."
            )

    def _write(self, event: dict[str, object]) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _replay(self, path: Path) -> None:
        for line in path.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            kind = event.pop("event")
            if kind == "finished":
                self._done.add(event["key"])
            else:
                event["ladder"] = tuple(event["ladder"])
                self._accesses[event["key"]] = Access(**event)
