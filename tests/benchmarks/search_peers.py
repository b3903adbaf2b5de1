"""Optuna and Ax behind ask and tell, on the coordinates that our own engines have.

They see the unit box: two weights folded into it, and every choice as an integer.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from moc.search.engines.base import ENGINES
from moc.search.space import Point, Space


class Searcher(Protocol):
    """Asks for one point, and is told what it was worth."""

    def ask(self) -> Point:
        """The next."""

    def tell(self, point: Point, values: Sequence[float], errors: Sequence[float]) -> None:
        """What it was worth."""


class Ours:
    """An engine of moc."""

    def __init__(self, settings: dict[str, Any], space: Space, objectives: int, seed: int) -> None:
        """Start it."""
        self.engine = ENGINES.make(settings).start(space, objectives=objectives, seed=seed)

    def ask(self) -> Point:
        """The next."""
        return self.engine.ask(1)[0]

    def tell(self, point: Point, values: Sequence[float], errors: Sequence[float]) -> None:
        """What it was worth."""
        self.engine.tell(point, values, errors)


class Optuna:
    """GPSampler with its defaults, or NSGAIISampler with our population of 12 (its own is 50)."""

    def __init__(self, sampler: str, space: Space, objectives: int, seed: int) -> None:
        """Start a study in memory."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        samplers = optuna.samplers
        chosen = (
            samplers.GPSampler(seed=seed)
            if sampler == "gp"
            else samplers.NSGAIISampler(seed=seed, population_size=12)
        )
        self.space = space
        self.study = optuna.create_study(directions=["minimize"] * objectives, sampler=chosen)

    def ask(self) -> Point:
        """The next."""
        self.trial = self.study.ask()
        u = [self.trial.suggest_float(f"u{i}", 0, 1) for i in range(self.space.weights.dimension)]
        chosen = {
            name: float(self.trial.suggest_int(name.replace(".", "_"), 0, count - 1))
            for name, count in self.space.choices.items()
        }
        return self.space.weights.decode(u) | chosen

    def tell(self, point: Point, values: Sequence[float], errors: Sequence[float]) -> None:
        """Optuna takes no standard errors."""
        self.study.tell(self.trial, list(values))


class Ax:
    """Its client with its defaults; it is given the standard errors."""

    def __init__(self, space: Space, objectives: int, seed: int) -> None:
        """Configure an experiment in memory."""
        from ax.api.client import Client
        from ax.api.configs import RangeParameterConfig

        logging.getLogger("ax").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
        self.space, self.names = space, [f"f{i}" for i in range(objectives)]
        self.client = Client(random_seed=seed)
        ranges: list[Any] = [
            RangeParameterConfig(name=f"u{i}", parameter_type="float", bounds=(0, 1))
            for i in range(space.weights.dimension)
        ]
        ranges += [
            RangeParameterConfig(
                name=name.replace(".", "_"), parameter_type="int", bounds=(0, count - 1)
            )
            for name, count in space.choices.items()
        ]
        self.client.configure_experiment(parameters=ranges)
        self.client.configure_optimization(objective=", ".join(f"-{name}" for name in self.names))

    def ask(self) -> Point:
        """The next."""
        ((self.index, found),) = self.client.get_next_trials(max_trials=1).items()
        u = [float(found[f"u{i}"]) for i in range(self.space.weights.dimension)]
        chosen = {name: float(found[name.replace(".", "_")]) for name in self.space.choices}
        return self.space.weights.decode(u) | chosen

    def tell(self, point: Point, values: Sequence[float], errors: Sequence[float]) -> None:
        """With standard errors."""
        data = dict(zip(self.names, zip(values, errors, strict=True), strict=True))
        self.client.complete_trial(self.index, raw_data=data)


def _ours(**settings: Any) -> Callable[[Space, int, int], Searcher]:
    return lambda space, objectives, seed: Ours(settings, space, objectives, seed)


SEARCHERS: dict[str, Callable[[Space, int, int], Searcher]] = {
    "sobol": _ours(kind="sobol"),
    "bayesian": _ours(kind="bayesian"),
    "bayesian ehvi": _ours(kind="bayesian", acquisition="ehvi"),
    "bayesian ehvi 8": _ours(kind="bayesian", acquisition="ehvi", initial=8),
    "bayesian parego": _ours(kind="bayesian", acquisition="parego"),
    "unsga3": _ours(kind="evolutionary", algorithm="unsga3"),
    "nsga3": _ours(kind="evolutionary", algorithm="nsga3"),
    "moead": _ours(kind="evolutionary", algorithm="moead"),
    "nsga2": _ours(kind="evolutionary", algorithm="nsga2"),
    "smsemoa": _ours(kind="evolutionary", algorithm="smsemoa"),
    "optuna gp": lambda *search: Optuna("gp", *search),
    "optuna nsga2": lambda *search: Optuna("nsga2", *search),
    "ax": Ax,
}
