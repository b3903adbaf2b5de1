"""What all tests share: one thread, no deadlines on busy machines, a small real data set."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings

from moc.data import RealData, load_digits
from moc.memory import keep_freed_memory

torch.set_num_threads(1)
keep_freed_memory()
settings.register_profile("moc", deadline=None)
settings.load_profile("moc")


@pytest.fixture(scope="session")
def digits() -> RealData:
    """The digits of scikit-learn, sealed."""
    return load_digits()
