"""The ladder of a private study: how its budget is divided, and the rungs that readers see.

What composes is 1/σ²: Gaussian mechanisms together cost what one costs whose 1/σ² is the sum of
theirs. So every share of a budget is a share of 1/σ².
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from moc.data.sources.base import UserPath
from moc.errors import PrivacyError
from moc.privacy.accountant import Gaussian, epsilon, noise_multiplier, require_range
from moc.privacy.noise import Tier


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What one reader may see of a release.

    Attributes:
        index: Place in the ladder, from 0, the largest epsilon.
        epsilon: What reading this rung of every round costs, by the accountant.
        sigma: Noise multiplier of all rounds together.
    """

    index: int
    epsilon: float
    sigma: float


_APART = 0.99
"""The most that a rung may be of the one above: noise is calibrated to a few digits."""


def require_falling(epsilons: Sequence[float]) -> None:
    """Refuse rungs that are none, or of which one is no less than the one above.

    Raises:
        PrivacyError: If so.
    """
    falling = all(b <= a * _APART for a, b in pairwise((math.inf, *epsilons)))
    if not (epsilons and falling and epsilons[-1] > 0 and epsilons[0] < math.inf):
        raise PrivacyError(
            "A ladder of positive epsilons, largest first and each 1 % or more below the one "
            f"before, expected; found {', '.join(f'{one:.10g}' for one in epsilons)}."
        )


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The rungs of a study and the share of the budget that a release takes of each.

    Attributes:
        epsilons: Largest first.
        delta: One for all rungs.
        share: Share of 1/σ²: shares of everything that is paid for sum to one.
        release: Share of the whole release that this is a round of; `share` if left out.
    """

    epsilons: tuple[float, ...]
    delta: float = 1e-5
    share: float = 1.0
    release: float | None = None

    def __post_init__(self) -> None:
        """Check the order of the rungs, and the share."""
        require_falling(self.epsilons)
        if not 0 < self.share <= 1:
            raise PrivacyError(f"A share of the budget in (0, 1] expected, found {self.share}.")

    def part(self, share: float) -> Ladder:
        """The ladder of one round of the release, which has so much of it."""
        return replace(self, share=self.share * share, release=self.release or self.share)

    @cached_property
    def multipliers(self) -> tuple[float, ...]:
        """Noise multiplier of each rung, smallest first."""
        return self._multipliers(self.share)

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """The rungs of the whole release, all rounds together, largest epsilon first."""
        return tuple(
            Rung(
                index=index,
                epsilon=epsilon([Gaussian(noise_multiplier=sigma)], delta=self.delta),
                sigma=sigma,
            )
            for index, sigma in enumerate(self._multipliers(self.release or self.share))
        )

    def _multipliers(self, share: float) -> tuple[float, ...]:
        return tuple(
            noise_multiplier(eps, delta=self.delta) / math.sqrt(share) for eps in self.epsilons
        )


class PrivacySettings(BaseModel):
    """`[privacy]`: its presence makes a study private.

    Attributes:
        epsilons: The ladder, largest first; its first entry is the budget for everything that the
            study does.
        delta: Of the budget; below one over the number of records, or nothing is promised.
        tier: How noise is drawn.
        ledger: File where all studies of the same records add up; else the one that MOC_LEDGER
            names, else one beside the data and one of the user's own.
        scoring: Share of the budget, as 1/σ², that pays for scores on private validation records;
            0 where [data] declares them public. The release has the rest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    epsilons: tuple[float, ...] = Field(min_length=1)
    delta: float = 1e-5
    tier: Tier = "standard"
    ledger: UserPath | None = None
    scoring: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            require_falling(self.epsilons)
            for one in self.epsilons:
                require_range(one, self.delta)
        except PrivacyError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def ladder(self) -> Ladder:
        """The rungs of the release, all rounds together."""
        return Ladder(epsilons=self.epsilons, delta=self.delta, share=1.0 - self.scoring)

    def score_noise(self, planned: int) -> float:
        """Noise multiplier of each of so many scores, which together take the share `scoring`."""
        whole = Ladder(epsilons=self.epsilons[:1], delta=self.delta).multipliers[0]
        return whole * math.sqrt(planned / self.scoring)
