"""Bayesian search by BoTorch: noisy expected hypervolume improvement (arXiv 2105.08195)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from typing_extensions import override

from moc.search.engines.base import Engine, EngineSettings
from moc.search.space import Space


class Bayesian(EngineSettings):
    """qLogNEHVI over Gaussian processes of the measured objectives.

    Attributes:
        initial: Sobol points before the first model.
        acquisition: `nehvi` (noisy expected hypervolume improvement: a front for each of 32 draws),
            `ehvi` (exact, on the one front of posterior means: cheap), or `parego` (random
            augmented Tchebycheff weights, for more than four objectives).
    """

    kind: Literal["bayesian"] = "bayesian"
    initial: int = Field(default=2, ge=2)
    acquisition: Literal["nehvi", "ehvi", "parego"] = "nehvi"

    @override
    def start(self, space: Space, *, objectives: int, seed: int) -> Engine:
        from moc.search.engines._botorch import BayesianEngine

        return BayesianEngine(
            space, objectives=objectives, seed=seed, **self.model_dump(exclude={"kind"})
        )
