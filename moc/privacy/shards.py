"""One pass over T by several workers: every shard is summed by one of them, and counts once.

Sums are exact integers, so it changes no bit how T is cut and who sums what, as long as all workers
round alike. Each therefore sums public records first and says what came out; where two differ, what
a record adds would depend on who met it, and the sums are refused. A private T is only summed by
workers that keep records apart (`moc.privacy.isolation`), which each finds out for itself.

The sums of a shard are as secret as its records. Only the study's process, which draws the noise,
adds them up, and only there is a ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from moc.data.vault import Records
from moc.errors import PrivacyError
from moc.networks.train import Progress
from moc.privacy.collect import Collection
from moc.privacy.isolation import probes, require_isolated
from moc.privacy.sums import Sums

_BYTES = 2**25  # of records in a shard, at most, where a batch is not more


@dataclass(frozen=True, kw_only=True)
class ShardSums:
    """What a worker gives: not private until noise has been added.

    Attributes:
        sums: Of the records of a shard.
        witness: A digest of what the same worker made of public records.
    """

    sums: Sums
    witness: str


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A part of T with what is to be summed of it, as a worker gets it.

    Attributes:
        private: Whether records must be kept apart.
    """

    collection: Collection
    private: bool
    _records: Records

    def __len__(self) -> int:
        """Number of records."""
        return len(self._records.y)

    def __getstate__(self) -> dict[str, object]:
        """What is sent: these records and no others that lie in the same memory."""
        return {**self.__dict__, "_records": self._records.sent()}

    def sum(self, progress: Progress | None = None) -> ShardSums:
        """Sum the records, after public ones.

        Raises:
            PrivacyError: If this worker does not keep records apart, or one is not finite.
        """
        witness = _witness(self.collection, self.private)
        sums = self.collection.sums(self._records, progress=progress)
        return ShardSums(sums=sums, witness=witness)


Run = Callable[[Sequence[Shard], Progress | None], Iterable[tuple[int, ShardSums]]]
"""Sums shards, each at least once; gives their numbers with what came out, in any order."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who sums shards.

    Attributes:
        count: How many work side by side.
        run: Has them do it.
    """

    count: int
    run: Run


def sums_of(
    collection: Collection,
    records: Records,
    *,
    private: bool,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Sums:
    """The sums over T, by workers if there are some: to the same bit, where machines are alike.

    Raises:
        PrivacyError: If a shard was not summed, if workers round differently, or do not keep the
            records of a private T apart.
    """
    if workers is None:
        return collection.sums(records, progress=progress)
    shards = _cut(collection, records, private=private, workers=workers.count)
    total, done, witnesses = collection.zeros(), set[int](), set[str]()
    for number, one in workers.run(shards, progress):
        if number not in done:  # done again, after its first worker seemed lost
            done.add(number)
            witnesses.add(one.witness)
            total = total + one.sums
    if done != set(range(len(shards))):
        raise PrivacyError(f"Sums of {len(shards)} shards of T expected, found {len(done)}.")
    if len(witnesses) > 1:
        raise PrivacyError(
            "Workers do not come to the same sums of public records, so what a record of T adds "
            "would depend on who sums it. Use machines of one kind, with one version of torch."
        )
    return total


def _cut(collection: Collection, records: Records, *, private: bool, workers: int) -> list[Shard]:
    """Shards of whole batches, some for every worker."""
    batch, count = collection.batch, len(records.y)
    each = max(records.size // max(count, 1), 1)
    size = batch * max(min(_BYTES // (batch * each), -(-count // (4 * workers * batch))), 1)
    parts = [slice(start, start + size) for start in range(0, count, size)]
    return [
        Shard(
            collection=collection,
            private=private,
            _records=records.part(one),
        )
        for one in parts
    ]


@lru_cache(maxsize=8)
def _witness(collection: Collection, private: bool) -> str:
    """What this process makes of public records, once it has shown that it keeps them apart."""
    if private:
        require_isolated(collection)
    sums = collection.sums(probes(collection.bank.info, collection.batch)).flat()
    return hashlib.sha256(sums.numpy().tobytes()).hexdigest()
