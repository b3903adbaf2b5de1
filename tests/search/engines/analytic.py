"""A search problem with a known front: what an ideal condensation would score at given weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moc.search.engines.base import Engine
from moc.search.front import Frame, hypervolume
from moc.search.space import Point, Space

SPACE = Space.over("error", "robust_error")
_T = np.linspace(0.0, 1.0, 2001)
CURVES = {
    "concave": np.stack([_T, np.sqrt(1 - _T**2)], axis=1),
    "convex": np.stack([_T**2, (1 - _T) ** 2], axis=1),
}
FRAME = Frame(ideal=(0.0, 0.2), nadir=(0.8, 0.9))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Two losses on a known curve; a trial lands where smooth Tchebycheff is least on it.

    `width` < 1 crams the front into that share of the range of the weight, as two losses of very
    different scale would.
    """

    curve: str = "concave"
    width: float = 1.0
    noise: float = 0.015

    def truth(self, point: Point) -> tuple[float, float]:
        r = min(max((point["robust_error"] - 0.7) / self.width + 0.7, 0.0), 1.0)
        weights = np.clip([1 - r, r], 0.02, 1.0)
        losses = CURVES[self.curve]
        at = np.exp(weights * (losses + 0.05) / 0.05).sum(axis=1).argmin()
        error, robust_error = self._errors(losses[at])
        return float(error), float(robust_error)

    def measure(self, point: Point, rng: np.random.Generator) -> tuple[float, float]:
        error, robust_error = self.truth(point)
        shake = self.noise * rng.standard_normal(2)
        return error + shake[0], robust_error + shake[1]

    def share(self, points: list[Point]) -> float:
        """True hypervolume of what was tried, as a share of that of the whole front."""
        tried = np.array([self.truth(point) for point in points])
        best = hypervolume(self._errors(CURVES[self.curve]), frame=FRAME)
        return hypervolume(tried, frame=FRAME) / best

    @staticmethod
    def _errors(losses):
        return np.array([0.1, 0.3]) + 0.5 * losses


def search(engine: Engine, problem: Problem, trials: int, batch: int = 1) -> list[Point]:
    """Run a noisy search; the points it tried, in order."""
    rng = np.random.default_rng(engine.seed + 99)
    tried: list[Point] = []
    while len(tried) < trials:
        for point in engine.ask(batch):
            tried.append(point)
            engine.tell(point, problem.measure(point, rng), (problem.noise, problem.noise))
    return tried
