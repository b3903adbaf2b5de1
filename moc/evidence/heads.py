"""Round two of the adversarial objective: records attacked under heads that round one released.

Round one releases clean moments. A linear head on each network of the bank is computed from them
alone, so it is post-processing and costs nothing. Round two attacks every record of T by itself
under these heads and releases the moments of what comes out; the clip follows the attack, so its
sensitivity is that of round one (Bu et al., OpenReview 1hw-h1C8bch, argue the same for training).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from moc.errors import PrivacyError
from moc.evidence.shares import class_shares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moc.attacks import Attack, Threat
    from moc.bank import Member
    from moc.evidence.release import Ladder
    from moc.evidence.rungs import Rung
    from moc.evidence.statistics import Statistics

_ALLOWED = ("fgsm", "pgd-margin")


class HeadsAttack:
    """A `RecordAttack`: each record attacked by itself against network k under head k.

    The heads come from the last rung of the clean release, the one with the most noise, and from
    no other. Round two is drawn once and shared by all rungs, so every rung of it carries what the
    attack knew. A reader of rung e is charged for rung e of both rounds: from its clean rung it
    could compute every rung below, and so the heads. Heads from a rung above would hand the readers
    of all lower rungs what a larger epsilon paid for.

    Attributes:
        heads: (K, d, c) on the features of each network.
    """

    def __init__(
        self,
        statistics: Statistics,
        clean: Sequence[Rung],
        ladder: Ladder,
        *,
        attack: Attack,
        threat: Threat,
    ) -> None:
        """Fit the heads.

        Args:
            statistics: What round one summed; round two has to use the same.
            clean: All rungs of round one, largest epsilon first.
            ladder: The rungs that round two will be released on.
            attack: `fgsm`, or `pgd-margin` without random start.
            threat: The budget of the attack.

        Raises:
            PrivacyError: If `clean` is not the whole ladder, so that its last rung could know more
                than a reader of the smallest may, or if the attack is not one of the allowed ones.
        """
        found = tuple(rung.epsilon for rung in clean)
        if found != ladder.epsilons:
            raise PrivacyError(
                "Heads for an attack on private records come from the smallest rung of the clean "
                f"release: all rungs of {ladder.epsilons} expected, found {found}. "
                "Give the whole release, as `draw` returned it."
            )
        if attack.name not in _ALLOWED or not attack.per_record:
            start = " with random start" if attack.random_start else ""
            raise PrivacyError(
                f"An attack on private records must treat each by itself: {' or '.join(_ALLOWED)}, "
                f"without random start, expected; found {attack.label}{start}."
            )
        self.heads = linear_heads(statistics, clean[-1])
        self._attack, self._threat, self._batch = attack, threat, statistics.batch

    def words(self) -> str:
        """See `release.NamedAttack`; the heads follow from the clean release in the ledger."""
        return (
            f"{self._attack.label}, {self._threat.norm} at most {self._threat.eps:g}, under heads "
            "from the smallest rung of the clean release"
        )

    def __call__(self, k: int, member: Member, x: Tensor, y: Tensor, /) -> Tensor:
        """See `RecordAttack`; takes whole padded batches only, which round alike in every row."""
        if len(x) != self._batch:
            raise PrivacyError(
                f"A padded batch of {self._batch} records expected, found {len(x)}: kernels round "
                "differently for other numbers. Call it through `Statistics.sums`."
            )
        head = self.heads[k]
        model = _Headed(member, head)
        return self._attack(model, x, y, threat=self._threat, classes=head.shape[1], seed=0)


def linear_heads(statistics: Statistics, rung: Rung) -> Tensor:
    """Heads (K, d, c) on the features of each network, from one rung of released moments.

    With class sums s (c, p) over N, centred over the classes to s - s̄, and second moments M
    (p, p), where these were released: the ridge solution (M + λI)⁻¹ (s - s̄)ᵀ on compact features,
    mapped back by the public projection. λ is a tenth of the mean eigenvalue plus three times the
    depth of the most negative one: a moment matrix has none below zero, so that depth is the size
    of the noise. With class sums only: the class-mean classifier (m - m̄)ᵀ, where m are the sums
    over the share of each class, as far as it was released.

    On 1,000 digits, `convnet2-w16`, half of the budget, the share of new records that a head gets
    right: class means 76 % without noise, 73 % at epsilon 8, 55 % at 2; ridge 90, 73 and 48 %,
    within two points of the best fixed λ for each.

    Args:
        statistics: What was summed.
        rung: The moments.

    Raises:
        PrivacyError: If the release holds no class sums.
    """
    if statistics.mean == 0:
        raise PrivacyError("Heads need class sums: a `mean` weight above 0 expected, found 0.")
    device = statistics.bank.device
    first, second = statistics.normalise(rung.first, rung.second)
    if second is None:
        means = first / class_shares(statistics, rung)[:, None]
        return (means - means.mean(1, keepdim=True)).mT.to(device)
    sums = (first - first.mean(1, keepdim=True)).to(device)
    members = [statistics.bank.member(k) for k in range(statistics.networks)]
    heads = zip(members, sums, second.to(device), strict=True)
    return torch.stack([_ridge_head(member, s, matrix) for member, s, matrix in heads])


def _ridge_head(member: Member, sums: Tensor, matrix: Tensor) -> Tensor:
    """Head (d, c) on the features of `member` from centred sums (c, d) and moments (p, p)."""
    values = torch.linalg.eigvalsh(matrix)
    # Positive definite with this shift, whatever the noise was; the floor is for no record at all.
    shift = (0.1 * values.mean() - 3.0 * values[0].clamp_max(0.0)).clamp_min(1e-6)
    shifted = matrix + shift * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    compact = torch.linalg.solve(shifted, member.compact(sums).mT)
    return compact if member.projection is None else member.projection @ compact


class _Headed(nn.Module):
    """Logits (n, c) of a linear head (d, c) on the features of a network."""

    def __init__(self, member: Member, head: Tensor) -> None:
        super().__init__()
        self.member, self.head = member, head

    def forward(self, x: Tensor) -> Tensor:
        return self.member(x) @ self.head
