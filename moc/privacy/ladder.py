"""The ladder of a private study: how its budget is divided, and the rungs that readers see.

What composes is 1/σ²: Gaussian mechanisms together cost what one costs whose 1/σ² is the sum of
theirs. So every share of a budget is a share of 1/σ².
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, field_validator

from moc.data.sources.base import UserPath
from moc.errors import PrivacyError
from moc.privacy.accountant import Gaussian, epsilon, noise_multiplier
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
        falling = all(a > b for a, b in pairwise((math.inf, *self.epsilons, 0.0)))
        if not self.epsilons or not falling:
            raise PrivacyError(
                f"A ladder of positive epsilons, largest first, expected; found {self.epsilons}."
            )
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
        delta: Of the budget.
        tier: How noise is drawn.
        ledger: File where all studies of the same records add up; else the one that MOC_LEDGER
            names, else one beside the data and one of the user's own.
        scoring: Share of the budget, as 1/σ², that pays for scores on private validation records;
            0 where [data] declares them public. The release has the rest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    epsilons: tuple[float, ...] = Field(min_length=1)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    tier: Tier = "standard"
    ledger: UserPath | None = None
    scoring: float = Field(default=0.0, ge=0, lt=1)

    @field_validator("epsilons")
    @classmethod
    def _falling(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) <= 0 or list(value) != sorted(set(value), reverse=True):
            raise ValueError(f"positive epsilons, largest first, expected; found {list(value)}")
        return value

    @property
    def ladder(self) -> Ladder:
        """The rungs of the release, all rounds together."""
        return Ladder(epsilons=self.epsilons, delta=self.delta, share=1.0 - self.scoring)

    def score_noise(self, planned: int) -> float:
        """Noise multiplier of each of so many scores, which together take the share `scoring`."""
        whole = Ladder(epsilons=self.epsilons[:1], delta=self.delta).multipliers[0]
        return whole * math.sqrt(planned / self.scoring)
