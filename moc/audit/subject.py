"""T as the subject of membership inference, by its owner: who may do what no study may.

Every run puts each record in or out by a fair coin, releases and condenses what is in by itself,
under a ledger of its own, and trains networks on the set. Then all records of T are shown to these
networks. That last step reads T without noise: the result is for the owner, and no budget covers
it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moc.audit.inference import log_odds
from moc.data.vault import RealData, as_unit
from moc.privacy.access import Access
from moc.privacy.ledger import Ledger

_BATCH = 1000


class MembershipSubject:
    """Records of T that are in or out of every run.

    Attributes:
        ledger: An open one, which no other access is written to.
    """

    def __init__(self, data: RealData, *, seed: int) -> None:
        """Read T as it is.

        Args:
            data: The records.
            seed: Public seed of the coins.
        """
        self.ledger = Ledger(None)
        self.ledger.own("train", data)
        purpose = "membership inference by the owner of the records"
        access = Access(key="membership", data="train", purpose=purpose, kind="open")
        self._records = self.ledger.read(access)
        self._data, self._seed = data, seed

    def members(self, run: int) -> Tensor:
        """Membership (n,), bool: a fair coin for every record of every run."""
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + run)
        return torch.rand(len(self._records.y), generator=generator) < 0.5

    def part(self, run: int) -> RealData:
        """Members, sealed; the declared number is half of the records, whatever the coins say."""
        return self._data.thinned(self.members(run), declared=len(self._data) // 2)

    @torch.no_grad()
    def odds(self, networks: Sequence[nn.Module], *, device: str) -> Tensor:
        """Log-odds (n,) of the right label of every record, averaged over networks."""
        x, y = as_unit(self._records.x), self._records.y
        logits = [[net(part.to(device)).cpu() for part in x.split(_BATCH)] for net in networks]
        return torch.stack([log_odds(torch.cat(rows), y) for rows in logits]).mean(0)
