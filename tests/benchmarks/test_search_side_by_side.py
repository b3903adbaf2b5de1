from __future__ import annotations

import numpy as np
import pytest
from search_peers import SEARCHERS
from search_problems import Analytic
from search_side_by_side import markdown, run

from moc.search.front import nondominated


@pytest.mark.parametrize("concave", [False, True])
def test_a_trial_lands_on_the_front_where_its_weights_say(concave):
    problem = Analytic(concave)
    points = [problem.space.point(w) for w in (*np.eye(3), (0.4, 0.3, 0.3), (0.3, 0.4, 0.3))]
    values = problem.truth(points)
    assert values[[0, 1, 2], [0, 1, 2]].max() < 0.01
    assert values[:3].argmin(1).tolist() == [0, 1, 2]
    assert values[3, 0] < values[4, 0]
    assert nondominated(values).all()
    assert 0 < problem.share(points[:3]) < problem.share(points) < 1


def test_the_gradient_of_the_trial_loop_is_that_of_its_losses():
    problem = Analytic(concave=True)
    points = [problem.space.decode(u) for u in np.random.default_rng(0).random((5, 2))]
    weights = np.array([problem.space.weights.values(point) for point in points]).clip(0.02)
    weights /= weights.sum(-1, keepdims=True)

    def loss(values):
        return 0.05 * np.log(np.exp(weights * (values + 0.05) / 0.05).sum(-1))

    # no mixture of the corners does better by more than what 200 steps leave
    mixtures = np.pad(np.random.default_rng(1).dirichlet(np.ones(3), 4000), ((0, 0), (0, 3)))
    best = np.min([loss(row) for row in problem.values(mixtures)], axis=0)
    assert (loss(problem.truth(points)) < best + 0.002).all()


@pytest.mark.parametrize(
    ("engine", "package"),
    [
        ("sobol", "moc"),
        ("moead", "pymoo"),
        ("optuna gp", "optuna"),
        ("optuna nsga2", "optuna"),
        pytest.param("ax", "ax", marks=pytest.mark.slow),
    ],
)
def test_runs_are_marked_and_tabled(engine, package):
    pytest.importorskip(package)
    found = run(Analytic(concave=False), engine, 0, 4)
    assert found["trials"] == 4
    assert 0 < found["4"][0] < 1
    assert f"| convex | {engine} | 1 |" in markdown({f"convex | {engine} | 0": found})


def test_every_searcher_of_ours_is_an_engine():
    space = Analytic(concave=True).space
    for name in SEARCHERS.keys() - {"ax", "optuna gp", "optuna nsga2"}:
        assert SEARCHERS[name](space, 3, 0).ask().keys() == {"b", "c"}
