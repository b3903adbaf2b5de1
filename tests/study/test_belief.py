"""How far losses rank sets as scores do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_study import fake_study
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from moc.study.belief import beliefs
from moc.views.recipes import belief_section, verdict


def with_losses(study, rule):
    """The study, whose losses follow a rule of the error."""
    trials = tuple(
        replace(one, losses={"error": rule(one.scores["error"].mean)}) for one in study.trials
    )
    return replace(study, trials=trials)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return fake_study(tmp_path_factory.mktemp("belief"), private=False, trials=14)


def test_a_loss_that_orders_as_scores_do_is_believed(made):
    (found,) = beliefs(with_losses(made, lambda error: error**3))
    assert found.objective == "error"
    assert found.correlation == pytest.approx(1.0)
    assert (found.sets, found.curves) == (14, 1)
    assert "a better set" in verdict(found)


def test_a_loss_that_orders_the_other_way_is_named(made):
    (found,) = beliefs(with_losses(made, lambda error: -error))
    assert found.correlation == pytest.approx(-1.0)
    assert "a worse set" in verdict(found)


@settings(max_examples=20)
@given(st.integers(0, 999))
def test_on_one_curve_it_is_spearmans(made, seed):
    rng = np.random.default_rng(seed)
    study = with_losses(made, lambda error: error + rng.normal(0, 0.05))
    (found,) = beliefs(study)
    losses = [one.losses["error"] for one in study.trials]
    errors = [one.scores["error"].mean for one in study.trials]
    assert found.correlation == pytest.approx(spearmanr(losses, errors).statistic)


def test_curves_are_not_compared_with_each_other(tmp_path):
    """A loss that only tells rungs apart says nothing of sets."""
    study = fake_study(tmp_path, trials=14)
    trials = tuple(replace(one, losses={"error": one.rung_index + 0.0}) for one in study.trials)
    assert beliefs(replace(study, trials=trials)) == []


def test_too_few_sets_are_not_judged(tmp_path):
    study = fake_study(tmp_path, private=False, trials=3)
    assert beliefs(with_losses(study, lambda error: error)) == []
    assert belief_section(study) == ""


def test_the_section_gives_the_number_and_what_it_means(made):
    section = belief_section(with_losses(made, lambda error: error))
    assert "+1.00" in section
    assert "14 sets on 1 curve<" in section
    assert "a lower loss is a better set" in section
