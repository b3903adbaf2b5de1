"""What several fronts are worth together, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from over_seeds import attained, distances

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=5)
several = st.lists(points.map(lambda one: np.array(one, dtype=float) / 6), min_size=1, max_size=4)


@given(several)
def test_a_share_of_the_studies_reached_every_corner_and_nothing_beyond(sets):
    for share, corners in attained(sets).items():
        for a in np.arange(7) / 6:
            for b in np.arange(7) / 6:
                reached = sum(any((one <= (a, b)).all(1)) for one in sets)
                inside = bool((corners <= (a + 1e-9, b + 1e-9)).all(1).any())
                assert inside == (reached >= share / 100 * len(sets))


@given(several)
def test_distance_is_the_mean_shortfall_to_the_joint_front(sets):
    every = np.concatenate(sets)
    joint = np.array([z for z in every if not ((every <= z).all(1) & (every < z).any(1)).any()])
    for one, found in zip(sets, distances(sets), strict=True):
        short = [min(np.linalg.norm(np.maximum(p - z, 0)) for p in one) for z in joint]
        assert found == pytest.approx(np.mean(np.array(short)))
