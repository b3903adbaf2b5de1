"""Bayesian search by BoTorch: noisy expected hypervolume improvement (arXiv 2105.08195)."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from botorch.acquisition.multi_objective import logei
from botorch.exceptions import BotorchWarning, ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelList, SingleTaskGP
from botorch.models.deterministic import GenericDeterministicModel
from botorch.optim import optimize_acqf_discrete
from botorch.sampling.get_sampler import get_sampler
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.utils.warnings import GPInputWarning, NumericalWarning

from moc.errors import StudyError
from moc.search.base import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moc.search.space import SearchSpace, Weighting

if hasattr(logei, "_load_attempted"):
    # BoTorch would compile a C++ kernel at first use: up to minutes, for nothing at this size, and
    # a process killed meanwhile leaves a lock on which all later ones hang.
    logei._load_attempted = True

SAMPLES = 32
"""Draws of the posterior in an acquisition value; its cost is linear in them."""

GRID = 65
"""Values of the robust share that compete on each rung."""

VARIANCE_FLOOR = 1e-6
"""Least variance of a measured rate: a standard error of 0 stands for few replicates, not truth."""


class BayesianEngine(Engine):
    """qLogNEHVI over Gaussian processes of the measured objectives.

    Each measured objective has an independent process over `SearchSpace.inputs`, with the measured
    standard errors as its noise; log epsilon is known and enters as a deterministic model. A trial
    depends on a rung and a share r only, so the acquisition is maximised by scoring a grid of r on
    every rung: no local search can miss its maximum. Points under way count as pending. The first
    `initial` points, and all until as many results are in, come from the Sobol sequence.
    """

    def __init__(self, space: SearchSpace, *, seed: int, initial: int = 8) -> None:
        """Start a search.

        Args:
            space: What may be searched.
            seed: Public, not negative.
            initial: Sobol points before the first model, at least 2.

        Raises:
            StudyError: Fewer than 2 initial points.
        """
        super().__init__(space, seed=seed)
        if initial < 2:
            raise StudyError(f"Expected at least 2 initial points, found {initial}.")
        self._initial = initial
        self._fitted: tuple[int, ModelList] | None = None

    def replay(self, asked: Sequence[Weighting], pending: Sequence[Weighting] = ()) -> None:  # noqa: ARG002
        """Record the answer; an ask leaves nothing else behind."""
        self._asked += asked

    def _propose(self, running: Sequence[Weighting]) -> Weighting | None:
        """The grid point of highest acquisition; None before the first model or without one."""
        if min(len(self._asked), len(self._told)) < self._initial:
            return None
        candidates = self._candidates(running)
        if not candidates:
            return None
        with _quiet():
            try:
                model = self._model()
            except ModelFittingError:
                return None
            with _seeded(self.seed, 1, len(self._asked)):
                return candidates[self._best(model, candidates, running)]

    def _candidates(self, running: Sequence[Weighting]) -> list[Weighting]:
        """The grid without what was tried already."""
        rungs = range(max(len(self.space.epsilons), 1))
        shares = np.linspace(0, 1, GRID).tolist()
        grid = [self.space.on_rung(r, rung) for rung in rungs for r in shares]
        nearness = self._nearness(grid, [*running, *self._tried])
        return [point for point, d in zip(grid, nearness, strict=True) if d >= self.tolerance]

    def _inputs(self, weightings: Sequence[Weighting]) -> torch.Tensor:
        """Model inputs, shape (weightings, dimension), float64."""
        rows = [self.space.inputs(weighting) for weighting in weightings]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, self.space.dimension)

    def _model(self) -> ModelList:
        """Fit the objectives, negated because BoTorch maximises; kept until the next result."""
        if self._fitted is None or self._fitted[0] != len(self._told):
            x = self._inputs(self._tried)
            y = -torch.tensor([o.values[:2] for o in self._told], dtype=torch.float64)
            errors = torch.tensor([o.errors[:2] for o in self._told], dtype=torch.float64)
            variance = errors.square().clamp_min(VARIANCE_FLOOR)
            with _seeded(self.seed, 0, len(self._told)):
                models = [_process(x, y[:, [i]], variance[:, [i]]) for i in range(2)]
            known = [GenericDeterministicModel(_rung_position)] if self.space.epsilons else []
            self._fitted = len(self._told), ModelList(*models, *known)
        return self._fitted[1]

    def _best(
        self, model: ModelList, candidates: Sequence[Weighting], running: Sequence[Weighting]
    ) -> int:
        """Index of the candidate of highest acquisition."""
        observed = self._inputs(self._tried)
        with torch.no_grad():
            posterior: Any = model.posterior(observed)  # a list, which its annotation hides
        # Without a seed of its own each objective's sampler draws one, from the seeded generator;
        # one seed for all would make the objectives' draws perfectly correlated.
        acquisition = logei.qLogNoisyExpectedHypervolumeImprovement(
            model=model,
            ref_point=self._reference(posterior.mean),
            X_baseline=observed,
            sampler=get_sampler(posterior, torch.Size([SAMPLES])),
            X_pending=self._inputs(running) if running else None,
            prune_baseline=True,
            cache_root=False,  # a deterministic model in the list has no root to cache
        )
        choices = self._inputs(candidates)
        with torch.no_grad():
            best, _ = optimize_acqf_discrete(acquisition, q=1, choices=choices, max_batch_size=128)
        return int((choices - best).square().sum(dim=-1).argmin())

    def _reference(self, means: torch.Tensor) -> torch.Tensor:
        """Nadir of the front of posterior means less a tenth of its range, (objectives,).

        Log epsilon has its range from the ladder.
        """
        reference = infer_reference_point(means[is_non_dominated(means)])
        if self.space.epsilons:
            reference[-1] = -0.1
        return reference


def _rung_position(x: torch.Tensor) -> torch.Tensor:
    """Minus log epsilon up to scale, which is an input already: 0 largest, 1 smallest."""
    return x[..., 1:2]


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
