"""An engine of somebody else's, in a few lines, keeps the contract."""

from __future__ import annotations

from typing import Literal

import numpy as np

from moc.search.engines.base import Engine, EngineSettings
from moc.testing.engines import EngineContract


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
