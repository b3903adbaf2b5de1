"""Evidence: what T gave. Everything after it sees only this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from moc.bank import Member, Members
    from moc.data.real import DataInfo
    from moc.evidence.views import View


class Evidence(ABC):
    """The base of `Samples` (open), `Moments` (open or private) and proxies (private).

    Attributes:
        info: Public facts about T.
        epsilons: Epsilon of each rung, largest first; empty if the evidence is not private.
        device: Where views live.
        bank: The networks under which T is looked at.
    """

    info: DataInfo
    epsilons: tuple[float, ...]
    device: str
    bank: Members

    @abstractmethod
    def start(self, y: Tensor, *, seed: int, rung: int) -> Tensor:
        """Records (len(y), *shape) of these classes that a set on this rung may start from.

        Public noise where T was released, or a proxy made from that rung; real records in an open
        study, never in a private one.
        """

    @abstractmethod
    def view(self, step: int, rungs: Sequence[int], *, member: Member | None = None) -> View:
        """What step `step` of condensation sees; the same step gives the same view.

        Args:
            step: Counts from 0; picks the network (and for samples the batch).
            rungs: For each of the B sets the rung it reads; ignored by open evidence.
            member: Look through this network, not the bank's; for samples and proxies only.

        Raises:
            StudyError: If a release is to be looked at through a network it was not drawn under.
        """
