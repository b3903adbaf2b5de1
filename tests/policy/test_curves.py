"""Choices on curves: expected scores against known functions, limits, prices."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fake_study import fake_study
from hypothesis import given, settings
from hypothesis import strategies as st

from moc.errors import PolicyError, StudyError
from moc.evaluate.scores import Estimate
from moc.policy.curves import best_place, place_at
from moc.privacy.ladder import Rung
from moc.study.expected import expected

RUNGS = (Rung(index=0, epsilon=8.0, sigma=0.6), Rung(index=1, epsilon=2.0, sigma=2.0))
PLACES = tuple(np.linspace(0, 1, 7))


def error(w: float, rung: int = 0) -> float:
    return 0.1 + 0.15 * w**2 + 0.1 * rung


def robust_error(w: float, rung: int = 0) -> float:
    return 0.7 - 0.3 * w + 0.1 * rung


def on_curves(folder, *, se=0.002, seed=0, private=True):
    """A study whose scores are those functions, measured with noise."""
    study = fake_study(folder, private=private)
    config = study.config | {"condense": {**study.config["condense"], "front": "curve"}}
    if private:
        config["privacy"] = {**config["privacy"], "epsilons": [8.0, 2.0]}
    noise, trials = np.random.default_rng(seed), []
    for rung in RUNGS if private else (None,):
        for w in PLACES:
            index = rung.index if rung else 0
            epsilon = rung.epsilon if rung else math.inf
            scores = {
                "error": Estimate(mean=error(w, index) + se * noise.normal(), se=se),
                "robust_error": Estimate(mean=robust_error(w, index) + se * noise.normal(), se=se),
            }
            if rung:
                scores["epsilon"] = Estimate(mean=epsilon)
            place = {"point": {"robust_error": w}, "weights": {"error": 1 - w, "robust_error": w}}
            one = replace(study.trials[0], number=len(trials), rung=rung, epsilon=epsilon)
            trials.append(replace(one, scores=scores, **place))
    return replace(study, config=config, trials=tuple(trials))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return on_curves(tmp_path_factory.mktemp("curves"))


class TestExpected:
    def test_functions_are_recovered_within_their_bands(self, tmp_path):
        misses = []
        for seed in range(5):
            for one in expected(on_curves(tmp_path, se=0.02, seed=seed)):
                w = np.array([point["robust_error"] for point in one.points])
                for name, truth in (("error", error), ("robust_error", robust_error)):
                    gap = one.mean(name) - truth(w, one.rung.index)
                    misses.append(np.abs(gap) / one.error(name))
                    assert np.abs(gap).max() < 0.06
        # A band of one standard error holds two thirds, of two 95 %.
        assert np.mean(np.concatenate(misses) < 1) > 0.5
        assert np.mean(np.concatenate(misses) < 2) > 0.85

    def test_an_exact_objective_is_what_it_is(self, study):
        first, second = expected(study)
        assert (first.mean("epsilon") == 8).all()
        assert (second.error("epsilon") == 0).all()

    def test_it_is_the_same_twice(self, study):
        again = expected(study)
        for one, other in zip(expected(study), again, strict=True):
            assert np.array_equal(one.draws["error"], other.draws["error"])

    def test_there_is_nothing_between_sets_apart(self, tmp_path):
        with pytest.raises(StudyError, match="front = 'curve'"):
            expected(fake_study(tmp_path))


class TestBestPlace:
    @settings(max_examples=15)
    @given(limit=st.floats(0.42, 0.68))
    def test_the_only_free_objective_is_as_low_as_the_limit_allows(self, study, limit):
        place = best_place(study, {"robust_error": limit, "epsilon": 8.0})
        w = place.point["robust_error"]
        assert w == pytest.approx((0.7 - limit) / 0.3, abs=0.04)
        assert place.scores["robust_error"].mean <= limit
        assert place.scores["error"].mean == pytest.approx(error(w), abs=0.01)

    def test_rungs_above_the_limit_take_no_part(self, study):
        place = best_place(study, {"epsilon": 4.0, "robust_error": 0.7})
        assert (place.rung, place.compared) == (1, 2.0)

    def test_a_preference_is_followed(self, study):
        assert best_place(study, {}, "robust_error").point["robust_error"] > 0.95
        assert best_place(study, {}, "error").point["robust_error"] < 0.2

    def test_the_price_of_a_limit_is_what_relaxing_it_gains(self, study):
        (price,) = best_place(study, {"robust_error": 0.5}).prices
        # From w = 2/3 to 0.6: 0.15 (0.444 - 0.36) is 1.3 points.
        assert price.startswith("Relaxing robust error by 0.02 gains 1.")
        assert price.endswith("points of clean error.")

    def test_a_limit_that_does_not_bind_costs_nothing(self, study):
        (price,) = best_place(study, {"robust_error": 0.69}, "error").prices
        assert price == "Relaxing robust error by 0.02 gains nothing that the scores can tell."

    def test_an_impossible_limit_is_explained(self, study):
        with pytest.raises(PolicyError, match=r"Closest comes w\(robust_error\) = 1.00 of rung 8"):
            best_place(study, {"robust_error": 0.3})
        with pytest.raises(PolicyError, match="No rung of study demo has an epsilon of at most 1"):
            best_place(study, {"epsilon": 1.0})

    def test_an_open_study_has_no_epsilon(self, tmp_path):
        study = on_curves(tmp_path, private=False)
        assert best_place(study, {"robust_error": 0.5}).compared == math.inf


class TestPlaceAt:
    def test_any_point_can_be_asked_for(self, study):
        place = place_at(study, {"robust_error": 0.3}, 2.0)
        assert (place.rung, place.compared) == (1, study.epsilon)
        assert place.scores["error"].mean == pytest.approx(error(0.3, 1), abs=0.01)

    def test_other_points_and_rungs_are_refused(self, study):
        with pytest.raises(PolicyError, match="a weight of robust_error"):
            place_at(study, {"robust_error": 1.3}, 2.0)
        with pytest.raises(StudyError, match="A rung of study demo expected, 8, 2"):
            place_at(study, {"robust_error": 0.3}, 3.0)
