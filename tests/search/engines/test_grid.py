from __future__ import annotations

from moc.search.engines.base import ENGINES
from moc.search.space import Space, Weights
from moc.testing.engines import EngineContract

CHOICES = Space(Weights(names=("a", "b")), choices={"method": 3, "labels": 2}, recipe_cost=5.0)


def grid(space):
    return ENGINES.make("grid").start(space, objectives=2, seed=0)


class TestGridContract(EngineContract):
    def make(self, space, objectives, seed):
        return ENGINES.make("grid").start(space, objectives=objectives, seed=seed)

    def test_seed_and_calls_determine_the_points(self, space, objectives):
        """The places of two losses are those of every grid; a seed moves those of more."""
        asked = [self.started(space, objectives, seed).ask(3) for seed in (3, 3, 4)]
        assert asked[0] == asked[1]
        assert (asked[0] == asked[2]) == (len(space.weights.names) == 2)


def test_every_recipe_has_a_place_before_any_has_the_next():
    points = grid(CHOICES).ask(18)
    assert [point["b"] for point in points] == [0.5] * 6 + [0.0] * 6 + [1.0] * 6
    for first in (0, 6, 12):
        assert [CHOICES.recipe(point) for point in points[first : first + 6]] == list(range(6))


def test_anchors_are_not_asked_for_again():
    engine = grid(CHOICES)
    for weights in ([1.0, 0.0], [0.0, 1.0]):
        engine.tell(CHOICES.point(weights), [0.1, 0.2], [0.0, 0.0])
    points = engine.ask(16)
    assert len({(CHOICES.recipe(point), point["b"]) for point in points}) == 16
    assert {0.0, 0.5, 1.0} == {point["b"] for point in points}


def test_places_between_are_halved():
    engine = grid(Space.over("a", "b"))
    assert [point["b"] for point in engine.ask(7)] == [0.5, 0.0, 1.0, 0.25, 0.75, 0.125, 0.375]


def test_one_loss_leaves_the_recipes():
    space = Space(Weights(names=("a",)), choices={"method": 3})
    assert [point["method"] for point in grid(space).ask(3)] == [0.0, 1.0, 2.0]
