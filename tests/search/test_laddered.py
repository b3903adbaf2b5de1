"""The privacy of a rung's weightings: scores of other rungs cannot move them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moc.search.laddered import LadderedSearch
from moc.search.space import SearchSpace

SPACE = SearchSpace(epsilons=(8.0, 4.0, 1.0))
SETTINGS = {"sobol": {}, "bayesian": {"initial": 2}, "evolutionary": {}}


def run(name, scores, rounds=4):
    """Ask and tell rung after rung; `scores(rung, share)` gives (error, robust error)."""
    search = LadderedSearch(name, SPACE, seed=5, **SETTINGS[name])
    asked = []
    for _ in range(rounds):
        for weighting in search.ask(3):
            rung = weighting.rung(SPACE.epsilons)
            values = (*scores(rung, weighting.robust_share), SPACE.epsilons[rung])
            search.tell(weighting, values, (0.01, 0.01, 0.0))
            asked.append(weighting)
    return asked


def smooth(rung, share):
    return 0.1 * (rung + 1) + 0.2 * share, 0.9 - 0.5 * share


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_rung_gets_its_turn(name):
    rungs = [w.rung(SPACE.epsilons) for w in run(name, smooth)]
    assert rungs == [0, 1, 2] * 4


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_scores_of_one_rung_move_no_weighting_of_another(name):
    def other(rung, share):
        return (share**2, 1.0 - share) if rung == 0 else smooth(rung, share)

    before, after = run(name, smooth), run(name, other)
    for a, b in zip(before, after, strict=True):
        if a.rung(SPACE.epsilons) > 0:
            assert a == b


def test_the_bayesian_search_does_look_at_its_own_rung():
    def other(rung, share):
        return ((share - 0.3) ** 2, (share - 0.35) ** 2) if rung == 2 else smooth(rung, share)

    before, after = run("bayesian", smooth, rounds=5), run("bayesian", other, rounds=5)
    own = [(a, b) for a, b in zip(before, after, strict=True) if a.rung(SPACE.epsilons) == 2]
    assert any(a != b for a, b in own)


@settings(max_examples=10)
@given(rounds=st.integers(1, 4))
def test_replayed_asks_leave_the_search_where_it_was(rounds):
    search, resumed = (LadderedSearch("sobol", SPACE, seed=2) for _ in range(2))
    for _ in range(rounds):
        asked = search.ask(4)
        resumed.replay(asked)
    assert resumed.ask(5) == search.ask(5)
