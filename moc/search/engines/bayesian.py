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
    """

    kind: Literal["bayesian"] = "bayesian"
    initial: int = Field(default=2, ge=2)

    @override
    def start(self, space: Space, *, objectives: int, seed: int) -> Engine:
        from moc.search.engines._botorch import BayesianEngine

        return BayesianEngine(space, objectives=objectives, seed=seed, initial=self.initial)
