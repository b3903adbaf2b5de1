"""The Bayesian engine. The only file that imports BoTorch and GPyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction, qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective import logei
from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.parego import qLogNParEGO
from botorch.acquisition.objective import GenericMCObjective
from botorch.exceptions import BotorchWarning, ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.sampling.get_sampler import get_sampler
from botorch.utils.multi_objective.box_decompositions.non_dominated import (
    FastNondominatedPartitioning,
)
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.utils.warnings import GPInputWarning, NumericalWarning
from typing_extensions import override

from moc.search.engines.base import Engine
from moc.search.space import Point, Space

if hasattr(logei, "_load_attempted"):
    # BoTorch would compile a C++ kernel at first use: up to minutes, for nothing at this size, and
    # a process killed meanwhile leaves a lock on which all later ones hang.
    logei._load_attempted = True

SAMPLES = 32
"""Draws of the posterior in an acquisition value; its cost is linear in them."""

CONSTANT = 1e-9
"""Least range of an objective that a process is fitted to."""

VARIANCE_FLOOR = 1e-6
"""Least variance of a measured rate: a standard error of 0 stands for few replicates, not truth."""


class BayesianEngine(Engine):
    """qLogNEHVI, or qLogNEI for a single objective, over one Gaussian process an objective.

    The processes have the measured standard errors as their noise. The acquisition is maximised by
    comparing the space's candidates: no local search can miss its maximum among them. Points under
    way count as pending. The first `initial` points, and all until as many results are in, come
    from the Sobol sequence.
    """

    def __init__(
        self, space: Space, *, objectives: int, seed: int, initial: int, acquisition: str
    ) -> None:
        """Start a search with `initial` Sobol points; see `Bayesian`."""
        super().__init__(space, objectives=objectives, seed=seed)
        self._initial, self._acquisition = initial, acquisition
        self._fitted: tuple[int, ModelListGP | None] | None = None

    @override
    def replay(self, asked: Sequence[Point], pending: Sequence[Point] = ()) -> None:
        """Record the answer; an ask leaves nothing else behind."""
        self._asked += asked

    @override
    def _propose(self, running: Sequence[Point]) -> Point | None:
        """The candidate of highest acquisition; None before the first model or without one."""
        if min(len(self._asked), len(self._results)) < self._initial:
            return None
        candidates = self._candidates(running)
        if not candidates:
            return None
        with _quiet():
            try:
                model = self._model()
            except ModelFittingError:
                return None
            if model is None:
                return None
            with _seeded(self.seed, 1, len(self._asked)):
                return candidates[self._best(model, candidates, running)]

    def _candidates(self, running: Sequence[Point]) -> list[Point]:
        """The space's candidates without what was tried already."""
        grid = self.space.candidates()
        nearness = self._nearness(grid, [*running, *self._tried])
        return [point for point, d in zip(grid, nearness, strict=True) if d >= self.tolerance]

    def _inputs(self, points: Sequence[Point]) -> torch.Tensor:
        """Model inputs, shape (points, dimension), float64."""
        rows = [self.space.encode(point) for point in points]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, self.space.dimension)

    def _varying(self) -> list[int]:
        """Objectives that differ between results: one that does not says nothing."""
        values = np.array([observation.values for observation in self._results])
        return np.flatnonzero(np.ptp(values, axis=0) > CONSTANT).tolist()

    def _model(self) -> ModelListGP | None:
        """Fit the objectives that vary, negated because BoTorch maximises; None without any.

        Kept until the next result.
        """
        if self._fitted is None or self._fitted[0] != len(self._results):
            x = self._inputs(self._tried)
            y = -torch.tensor([o.values for o in self._results], dtype=torch.float64)
            errors = torch.tensor([o.errors for o in self._results], dtype=torch.float64)
            variance = errors.square().clamp_min(VARIANCE_FLOOR)
            with _seeded(self.seed, 0, len(self._results)):
                models = [_process(x, y[:, [i]], variance[:, [i]]) for i in self._varying()]
            self._fitted = len(self._results), ModelListGP(*models) if models else None
        return self._fitted[1]

    def _best(
        self, model: ModelListGP, candidates: Sequence[Point], running: Sequence[Point]
    ) -> int:
        """Index of the candidate of highest acquisition."""
        observed, pending = self._inputs(self._tried), self._inputs(running) if running else None
        if model.num_outputs > 1 and self._acquisition == "ehvi":
            value = _plug_in(model, observed, pending)
        else:
            value = self._noisy(model, observed, pending)
        # The logarithm of what a point should gain, less that of its cost: gain for the cost.
        tried = [*self._tried, *running]
        costs = torch.tensor([self.space.cost(point, tried) for point in candidates])
        with torch.no_grad():
            parts = self._inputs(candidates).unsqueeze(1).split(128)
            values = torch.cat([value(part) for part in parts])
        return int((values - costs.log()).argmax())

    def _noisy(
        self, model: ModelListGP, observed: torch.Tensor, pending: torch.Tensor | None
    ) -> AcquisitionFunction:
        """qLogNEHVI, qLogNParEGO, or qLogNEI where one objective varies."""
        with torch.no_grad():
            posterior: Any = model.posterior(observed)  # a list, which its annotation hides
        # One sampler over all objectives, seeded by the generator that `_seeded` set.
        sampler = get_sampler(posterior, torch.Size([SAMPLES]))
        shared: dict[str, Any] = {"model": model, "X_baseline": observed, "X_pending": pending}
        if model.num_outputs == 1:
            return qLogNoisyExpectedImprovement(
                **shared,
                sampler=sampler,
                objective=GenericMCObjective(lambda y, X=None: y[..., 0]),  # noqa: ARG005
                cache_root=False,
            )
        if self._acquisition == "parego":
            # draws its weights from the generator that `_seeded` set
            return qLogNParEGO(**shared, sampler=sampler, cache_root=False)
        means = posterior.mean
        # The nadir of the front of posterior means, less a tenth of its range.
        reference = infer_reference_point(means[is_non_dominated(means)])
        return logei.qLogNoisyExpectedHypervolumeImprovement(
            **shared, ref_point=reference, sampler=sampler, prune_baseline=True, cache_root=False
        )


def _plug_in(
    model: ModelListGP, observed: torch.Tensor, pending: torch.Tensor | None
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Logarithm of the exact expected improvement on the front of posterior means.

    One box decomposition, none for each draw. Points under way are believed to have been measured
    at their means, by their processes.
    """
    known = observed
    if pending is not None:
        model, known = _believing(model, pending), torch.cat([observed, pending])
    with torch.no_grad():
        means: torch.Tensor = model.posterior(known).mean
    reference = infer_reference_point(means[is_non_dominated(means)])
    boxes: Any = FastNondominatedPartitioning(reference, means)  # the annotation is too narrow
    improvement = ExpectedHypervolumeImprovement(
        model=model, ref_point=reference.tolist(), partitioning=boxes
    )
    return lambda x: improvement(x).clamp_min(1e-300).log()


def _believing(model: ModelListGP, pending: torch.Tensor) -> ModelListGP:
    """Processes that have seen their own means at the points under way."""
    processes: list[Any] = list(model.models)
    believing = []
    with torch.no_grad():
        for process in processes:
            mean = process.posterior(pending).mean
            noise = torch.full_like(mean, VARIANCE_FLOOR)
            believing.append(process.condition_on_observations(pending, mean, noise=noise))
    return ModelListGP(*believing)


def _process(x: torch.Tensor, y: torch.Tensor, variance: torch.Tensor) -> SingleTaskGP:
    """Fit one objective by maximum a posteriori."""
    model = SingleTaskGP(x, y, train_Yvar=variance)
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


@contextmanager
def _seeded(*key: int) -> Iterator[None]:
    """Draw from a state made of the key, and put the global one back."""
    with torch.random.fork_rng(devices=[]):
        state = np.random.SeedSequence(key).generate_state(1)[0]
        torch.default_generator.manual_seed(int(state))
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence remarks on inputs and numerics that a user of moc can do nothing about."""
    with warnings.catch_warnings():
        for category in (BotorchWarning, GPInputWarning, NumericalWarning):
            warnings.simplefilter("ignore", category)
        yield
