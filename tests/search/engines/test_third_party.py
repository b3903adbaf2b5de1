"""An engine of somebody else's, in a few lines, keeps the contract; broken ones do not."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from moc.search.engines.base import Engine, EngineSettings
from moc.testing.engines import THREE, EngineContract


class RandomSearch(EngineSettings):
    kind: Literal["random"] = "random"

    def start(self, space, *, objectives, seed):
        return RandomEngine(space, objectives=objectives, seed=seed)


class RandomEngine(Engine):
    def _propose(self, running):
        rng = np.random.default_rng((self.seed, len(self._asked)))
        return self.space.decode(rng.random(self.space.dimension).tolist())


class TestRandomContract(EngineContract):
    def make(self, space, objectives, seed):
        return RandomSearch().start(space, objectives=objectives, seed=seed)


class Unseeded(RandomEngine):
    def __init__(self, space, *, objectives, seed):
        super().__init__(space, objectives=objectives, seed=0)


class DrawsGlobally(RandomEngine):
    def _propose(self, running):
        return self.space.decode(np.random.rand(self.space.dimension).tolist())


class Forgetful(RandomEngine):
    def replay(self, asked, pending=()):
        pass


class Repeating(RandomEngine):
    def ask(self, n, pending=()):
        return [self.space.decode([0.5] * self.space.dimension)] * n


class BlindToOthers(RandomEngine):
    def ask(self, n, pending=()):
        return super().ask(n)


class CountsPendingTwice(RandomEngine):
    def ask(self, n, pending=()):
        self._asked += pending
        return super().ask(n)


class Gullible(RandomEngine):
    def tell(self, point, values, errors):
        pass


@pytest.mark.parametrize(
    ("engine", "broken"),
    [
        (Unseeded, "seed_and_calls_determine_the_points"),
        (DrawsGlobally, "leaves_global_generators_alone"),
        (Forgetful, "resumes_from_a_written_ledger"),
        (Repeating, "points_lie_in_the_space_and_never_repeat"),
        (BlindToOthers, "does_not_ask_for_what_is_pending_elsewhere"),
        (CountsPendingTwice, "naming_its_own_pending_points_changes_nothing"),
        (Gullible, "refuses_what_is_no_result_and_is_not_changed_by_it"),
    ],
)
def test_the_contract_finds_what_is_broken(engine, broken):
    class Broken(EngineContract):
        def make(self, space, objectives, seed):
            return engine(space, objectives=objectives, seed=seed)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(Broken(), f"test_{broken}")(THREE, 2)
