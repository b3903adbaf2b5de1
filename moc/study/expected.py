"""What every point of a curve should score: a smooth function of w, with its band."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moc.errors import StudyError
from moc.privacy.ladder import Rung
from moc.search.space import Point, Space
from moc.study.records import StudyRecord, Trial

_DRAWS = 256
"""Functions that are drawn from what the scores leave open."""

_LEAST_ERROR = 1e-3
"""Least standard error of a score: one of 0 stands for few replicates, not for truth."""

_LEAST_NOISE = 1e-3
"""Least noise of a point, as a share of the variance of all."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Expected scores at G points of one curve, from the scores of those that were measured.

    Attributes:
        rung: The curve's rung; None in an open study.
        recipe: Number of its recipe.
        epsilon: What a set of it costs; infinity in an open study.
        points: The G points.
        draws: By objective, functions that agree with the scores (draws, G); an exact objective
            has one.
        scored: Trials that are points of this curve.
    """

    rung: Rung | None
    recipe: int
    epsilon: float
    points: tuple[Point, ...]
    draws: dict[str, NDArray[np.float64]]
    scored: tuple[Trial, ...]

    def mean(self, name: str) -> NDArray[np.float64]:
        """Expected values (G,) of an objective."""
        return self.draws[name].mean(0)

    def error(self, name: str) -> NDArray[np.float64]:
        """Their standard errors (G,): how far the scores leave the mean over networks open."""
        return self.draws[name].std(0)


def expected(study: StudyRecord) -> list[Expected]:
    """The expected scores along every curve of which a set was scored.

    One Gaussian process an objective and rung (Matérn 5/2, a length for each coordinate).
    No order is imposed: along a curve the losses fall and rise, scores need not.

    Raises:
        StudyError: If the sets of the study are no points of curves.
    """
    if not study.on_curves:
        raise StudyError(
            f"The sets of study {study.name} were condensed apart: there is nothing between them. "
            "Choose one of them, or run the study with front = 'curve' in [condense]."
        )
    space = study.space
    weightings = Space(weights=space.weights).candidates()
    by_rung: dict[int, list[Trial]] = {}
    for trial in study.trials:
        by_rung.setdefault(trial.rung_index, []).append(trial)
    found = []
    for _, of_rung in sorted(by_rung.items()):
        # Where a set was dialled may depend on releases above its rung: this rung may not see it.
        least = min(trial.epsilon for trial in of_rung)
        trials = [trial for trial in of_rung if trial.epsilon <= least]
        chosen = {space.recipe(t.point): space.choice(t.point) for t in trials}
        for recipe, choice in sorted(chosen.items()):
            points = tuple(point | choice for point in weightings)
            found.append(_along(study, recipe, points, trials))
    return found


def _along(
    study: StudyRecord, recipe: int, points: tuple[Point, ...], trials: Sequence[Trial]
) -> Expected:
    space = study.space
    inputs = np.array([space.encode(trial.point) for trial in trials])
    grid = np.array([space.encode(point) for point in points])
    draws = {}
    for name, objective in study.objectives.items():
        values = np.array([trial.scores[name].mean for trial in trials if name in trial.scores])
        if objective.exact:
            draws[name] = np.full((1, len(points)), values.mean() if len(values) else np.inf)
            continue
        errors = np.array([trial.scores[name].se for trial in trials])
        draws[name] = _functions(inputs, values, errors.clip(_LEAST_ERROR), grid)
    rung = trials[0].rung
    return Expected(
        rung=rung,
        recipe=recipe,
        epsilon=max(trial.epsilon for trial in trials),
        points=points,
        draws=draws,
        scored=tuple(trial for trial in trials if space.recipe(trial.point) == recipe),
    )


def _functions(
    inputs: NDArray[np.float64],
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    grid: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Draws (draws, G) of a Gaussian process given values (n,) with standard errors.

    All sets meet the same networks and records, so most of a standard error is common to them: it
    moves a curve as a whole. What is left of it for each point is estimated, and at most all.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    common = float(np.sqrt(np.mean(errors**2)))
    centre, scale = values.mean(), max(values.std(), _LEAST_ERROR)
    lengths: Any = np.full(inputs.shape[1], 0.7)
    smooth = ConstantKernel(1.0, (0.1, 10.0)) * Matern(lengths, (0.3, 3.0), nu=2.5)
    most = max((common / scale) ** 2, 2 * _LEAST_NOISE)
    noise = WhiteKernel(most / 2, (_LEAST_NOISE, most))
    fitted = GaussianProcessRegressor(smooth + noise, random_state=0)
    with warnings.catch_warnings():
        # A bound that is reached is what the bounds are for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(inputs, (values - centre) / scale)
    kernel: Any = fitted.kernel_
    fixed: Any = None
    model = GaussianProcessRegressor(kernel.k1, alpha=kernel.k2.noise_level, optimizer=fixed)
    model.fit(inputs, (values - centre) / scale)
    draws = centre + scale * model.sample_y(grid, _DRAWS, random_state=0).T
    generator = np.random.default_rng(0)  # the same for all curves: their errors are common too
    moved = generator.standard_normal((_DRAWS, 1))
    return draws + common * (moved - moved.mean())
