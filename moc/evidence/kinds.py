"""What condensation sees in a study, as its file says it: samples, moments or proxies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Literal, Protocol

from pydantic import Field
from typing_extensions import override

from moc.evidence.base import RECORDS, Evidence
from moc.evidence.moments import Moments
from moc.evidence.proxy import Proxies, Proxy
from moc.evidence.samples import Samples
from moc.networks.architectures import AnyNetwork, Architecture
from moc.networks.bank import Bank
from moc.parts import Family, Part
from moc.privacy.ledger import Ledger


class EvidenceContext(Protocol):
    """What a study offers to whoever opens its evidence."""

    seed: int
    ledger: Ledger

    def bank(
        self, networks: Sequence[Architecture] | None, *, augmentation: bool, shift: int = 0
    ) -> Bank:
        """Public networks for the study's records; by their shape if none are named."""
        ...

    def moments(self) -> Moments:
        """Draw, or read back, the sums over T of every round."""
        ...

    def proxies(self, moments: Moments, settings: ProxyEvidence) -> list[Proxy]:
        """Make, or read back, one proxy for every rung."""
        ...


class EvidencePart(Part, ABC):
    """The table `[evidence]`.

    Attributes:
        private: Whether it is for private studies (True), open ones (False) or both (None).
        released: Whether it reads sums over T, drawn in rounds.
    """

    private: ClassVar[bool | None] = None
    released: ClassVar[bool] = True

    def gives(self, released: frozenset[str]) -> frozenset[str]:
        """What its views hold, where these kinds of statistics are summed over T."""
        del released
        return frozenset({RECORDS})

    @property
    def seen(self) -> tuple[Architecture, ...]:
        """Architectures that it names, apart from those of the rounds."""
        return ()

    def faults(
        self, summed: Sequence[frozenset[str]], *, needed: int
    ) -> Iterable[tuple[bool, str]]:
        """Whether something is wrong, and what to say then, for every rule of its own.

        Args:
            summed: Kinds of the statistics of every round.
            needed: Records a class that sets start from.
        """
        del summed, needed
        return ()

    @abstractmethod
    def open(self, context: EvidenceContext) -> Evidence:
        """Read T, or what was released of it."""


EVIDENCE: Family[EvidencePart] = Family("evidence", EvidencePart, "moc.evidence")

_PROXY_READS = {"class-means", "class-counts"}
_PROXY_VIEWS = 50_000  # on top of the seed of the networks that the release was drawn under


class SamplesEvidence(EvidencePart):
    """Batches of T itself: open studies only.

    Attributes:
        batch: Records a step.
        networks: Architectures, used in turn; by the records' shape if left out.
        augmentation: Whether every network has a draw of differentiable augmentation of its own.
    """

    kind: Literal["samples"] = "samples"
    private: ClassVar[bool | None] = False
    released: ClassVar[bool] = False
    batch: int = Field(default=256, gt=0)
    networks: tuple[AnyNetwork, ...] | None = Field(default=None, min_length=1)
    augmentation: bool = False

    @property
    @override
    def seen(self) -> tuple[Architecture, ...]:
        return self.networks or ()

    @override
    def open(self, context: EvidenceContext) -> Samples:
        bank = context.bank(self.networks, augmentation=self.augmentation)
        return Samples(context.ledger, bank=bank, batch=self.batch, seed=context.seed)


class MomentsEvidence(EvidencePart):
    """Sums over T under the networks of the rounds, with noise or, in an open study, exact."""

    kind: Literal["moments"] = "moments"

    @override
    def gives(self, released: frozenset[str]) -> frozenset[str]:
        return released

    @override
    def open(self, context: EvidenceContext) -> Moments:
        return context.moments()


class ProxyEvidence(EvidencePart):
    """Larger synthetic sets made from each rung of the release, read in place of T.

    A proxy is post-processing and costs nothing more, but it is records: any discrepancy reads it,
    under any network, and it can be attacked.

    Attributes:
        images_per_class: Records a class of each proxy; at least those of a set.
        steps: Optimiser steps that a proxy is made in.
        lr: Learning rate of these; that of `[condense]` if left out.
        batch: Records a step.
        networks: Architectures that proxies and sets are compared under: any will do, while those
            of a release have to be many and cheap. Those of the first round if left out.
    """

    kind: Literal["proxy"] = "proxy"
    private: ClassVar[bool | None] = True
    images_per_class: int = Field(default=50, gt=0)
    steps: int = Field(default=300, gt=0)
    lr: float | None = Field(default=None, gt=0)
    batch: int = Field(default=256, gt=0)
    networks: tuple[AnyNetwork, ...] | None = Field(default=None, min_length=1)

    @property
    @override
    def seen(self) -> tuple[Architecture, ...]:
        return self.networks or ()

    @override
    def faults(
        self, summed: Sequence[frozenset[str]], *, needed: int
    ) -> Iterator[tuple[bool, str]]:
        yield (
            self.images_per_class < needed,
            f"Sets start from {needed} records a class of the proxy, and `images_per_class` in "
            f"[evidence] is {self.images_per_class}: give it at least {needed}.",
        )
        yield (
            any("class-means" not in kinds for kinds in summed),
            "A proxy is made from class means under the networks of every round: add "
            "'class-means' to `statistics` in each of [[rounds]].",
        )
        unread = frozenset().union(*summed) - _PROXY_READS
        yield (
            bool(unread),
            f"[[rounds]] pay for {', '.join(sorted(unread))}, which a proxy is not made from: "
            "remove them, or use [evidence] kind = 'moments'.",
        )

    @override
    def open(self, context: EvidenceContext) -> Proxies:
        moments = context.moments()
        return Proxies(
            context.proxies(moments, self),
            rungs=moments.rungs,
            bank=context.bank(
                self.networks or moments.bank.networks, augmentation=False, shift=_PROXY_VIEWS
            ),
            batch=self.batch,
            seed=context.seed,
        )
