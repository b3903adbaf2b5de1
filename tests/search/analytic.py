"""A search problem with a known front: what an ideal condensation would score at a weighting."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from moc.search.engines.base import Engine
from moc.search.front import Reference, hypervolume
from moc.search.space import SearchSpace, Weighting

LADDER = (8.0, 4.0, 2.0, 1.0)
_T = np.linspace(0.0, 1.0, 2001)
CURVES = {
    "concave": np.stack([_T, np.sqrt(1 - _T**2)], axis=1),
    "convex": np.stack([_T**2, (1 - _T) ** 2], axis=1),
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Two losses on a known curve; a trial lands where smooth Tchebycheff is least on it.

    A smaller epsilon costs the same on both errors. `width` < 1 crams the front into that share of
    the range of r, as two losses of very different scale would.
    """

    space: SearchSpace
    curve: str = "concave"
    width: float = 1.0
    noise: float = 0.015

    def truth(self, weighting: Weighting) -> tuple[float, float, float]:
        r = min(max((weighting.robust_share - 0.7) / self.width + 0.7, 0.0), 1.0)
        weights = np.clip([1 - r, r], 0.02, 1.0)
        losses = CURVES[self.curve]
        at = np.exp(weights * (losses + 0.05) / 0.05).sum(axis=1).argmin()
        rung = weighting.rung(self.space.epsilons) if self.space.epsilons else 0
        epsilon = self.space.epsilons[rung] if self.space.epsilons else math.inf
        error, robust_error = self._errors(losses[at], rung)
        return float(error), float(robust_error), epsilon

    def measure(self, weighting: Weighting, rng: np.random.Generator) -> tuple[float, float, float]:
        error, robust_error, epsilon = self.truth(weighting)
        shake = self.noise * rng.standard_normal(2)
        return error + shake[0], robust_error + shake[1], epsilon

    def share(self, weightings: list[Weighting]) -> float:
        """True hypervolume of what was tried, as a share of that of the whole front."""
        tried = self._matrix([self.truth(weighting) for weighting in weightings])
        rungs = range(len(self.space.epsilons) or 1)
        whole = [
            np.column_stack([self._errors(CURVES[self.curve], k), np.full(len(_T), epsilon)])
            for k, epsilon in zip(rungs, self.space.epsilons or (math.inf,), strict=True)
        ]
        best = hypervolume(self._matrix(np.concatenate(whole)), reference=self.reference)
        return hypervolume(tried, reference=self.reference) / best

    @property
    def reference(self) -> Reference:
        if self.space.epsilons:
            return Reference(ideal=(0.0, 0.2, -1.0), nadir=(1.0, 1.1, 3.0))
        return Reference(ideal=(0.0, 0.2), nadir=(0.8, 0.9))

    @staticmethod
    def _errors(losses, rung):
        return np.array([0.1, 0.3]) + 0.5 * losses + 0.08 * rung

    def _matrix(self, values) -> np.ndarray:
        values = np.array(values, dtype=float)
        if not self.space.epsilons:
            return values[:, :2]
        return np.column_stack([values[:, :2], np.log2(values[:, 2])])


def search(engine: Engine, problem: Problem, trials: int, batch: int = 1) -> list[Weighting]:
    """Run a noisy search; the points it tried, in order."""
    rng = np.random.default_rng(engine.seed + 99)
    tried: list[Weighting] = []
    while len(tried) < trials:
        for weighting in engine.ask(batch):
            tried.append(weighting)
            errors = (problem.noise, problem.noise, 0.0)
            engine.tell(weighting, problem.measure(weighting, rng), errors)
    return tried
