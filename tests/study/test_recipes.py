"""Choices: recipes by number, a curve for each that is tried, and the same after a kill."""

from __future__ import annotations

import shutil

import pytest
from tiny import TINY, unreported

from moc.errors import StudyError
from moc.search.space import recipes_of
from moc.study.config import parse_config
from moc.study.events import StudyLedger
from moc.study.expected import expected
from moc.study.records import curve_path
from moc.study.run import run_study

CHOICES = {"condense.lr": [0.01, 0.05], "condense.labels": ["learned", "hard"]}
TABLES = {
    **unreported(TINY),
    "name": "choices",
    "search": {"trials": 5, "batch": 2, "engine": "sobol", "choices": CHOICES},
}


def config_of(**search):
    return parse_config({**TABLES, "search": {**TABLES["search"], **search}}, where="test")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return run_study(config_of(), tmp_path_factory.mktemp("runs") / "choices")


def test_recipes_are_the_study_under_every_combination():
    config = config_of()
    found = [(one.condense.lr, one.condense.labels) for one in config.recipes]
    assert found == [(0.01, "learned"), (0.01, "hard"), (0.05, "learned"), (0.05, "hard")]
    assert [one.search.choices for one in config.recipes] == [{}] * 4
    for number, chosen in enumerate(recipes_of(CHOICES)):
        point = {
            "robust_error": 0.5,
            **{name: float(CHOICES[name].index(value)) for name, value in chosen.items()},
        }
        assert config.space.recipe(point) == number


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"data.train": [100, 200]}, "a dotted key of a table under"),
        ({"condense.lrs": [0.1, 0.2]}, "lrs"),
        ({"condense.lr": [0.1, -1.0]}, "greater than 0"),
        ({"condense.lr": [0.1]}, "two or more values each"),
        ({"condense.lr": [k / 100 for k in range(1, 66)]}, "64 combinations at most"),
        ({"condense.front": ["curve", "apart"]}, "need a curve for each recipe"),
    ],
)
def test_choices_that_cannot_work_are_refused(choices, message):
    with pytest.raises(StudyError, match=message):
        config_of(choices=choices)


def test_every_recipe_that_was_tried_has_one_curve_and_its_sets_lie_on_it(study):
    tried = {study.space.recipe(trial.point) for trial in study.trials}
    assert len(tried) > 1
    events = StudyLedger(study.folder / "study.jsonl").all("curve")
    assert sorted(event["recipe"] for event in events) == sorted(tried)
    for recipe in tried:
        assert (study.folder / curve_path(0, recipe)).is_file()
    assert {one.recipe for one in expected(study)} == tried
    anchors = [trial for trial in study.trials if trial.kind == "anchor"]
    assert {study.space.recipe(trial.point) for trial in anchors} == {0}
    assert study.recipe_words(3) == "condense.lr = 0.05, condense.labels = hard"


def test_a_study_that_is_killed_at_any_event_ends_alike(study, tmp_path):
    lines = (study.folder / "study.jsonl").read_text().splitlines(keepends=True)
    curves = [k for k, line in enumerate(lines) if '"curve"' in line.split(",")[0]]
    for cut in (curves[0] + 1, curves[-1], curves[-1] + 1):
        folder = tmp_path / str(cut) / "choices"
        shutil.copytree(study.folder, folder)
        (folder / "study.jsonl").write_text("".join(lines[:cut]))
        again = run_study(config_of(), folder)
        assert [trial.point for trial in again.trials] == [trial.point for trial in study.trials]
        assert [trial.scores for trial in again.trials] == [trial.scores for trial in study.trials]
