"""Where trials stand, from what a study has written."""

from __future__ import annotations

import math
import shutil

import fast_trials
import numpy as np
import pytest
import torch
from ledgers import read_events, write_events
from tiny import TINY

from moc.evaluate.scores import error_of_difference
from moc.privacy.held_out import Counts
from moc.search.front import Frame, hypervolume
from moc.study.config import parse_config
from moc.study.measuring_jobs import Score
from moc.study.standing import objective_values, replicate_values
from moc.study.store import read_study

PAID = {
    **fast_trials.TABLES,
    "name": "paid",
    "data": {**TINY["data"], "reference": 0, "public": ["test"]},
    "privacy": {"epsilons": [8.0, 2.0], "scoring": 0.4},
    "evaluate": {**TINY["evaluate"], "replicates": 3, "report_replicates": 1},
}


@pytest.fixture(scope="module")
def paid(tmp_path_factory):
    """A private study whose scores are paid for, with three networks a set."""
    with pytest.MonkeyPatch.context() as patch:
        fast_trials.fake(patch)
        return fast_trials.run(tmp_path_factory.mktemp("paid") / "study", PAID)


def test_each_network_is_kept_and_their_mean_is_the_score(paid):
    for trial in paid.trials:
        for name in paid.measured:
            one = trial.scores[name]
            assert np.mean(one.replicates) == pytest.approx(one.mean, abs=1e-12)
            assert np.var(one.replicates, ddof=1) / 3 <= one.se**2 + 1e-15


def test_what_is_kept_of_private_records_has_the_noise_that_was_paid_for(tmp_path, monkeypatch):
    """Networks that get nothing right: without noise every error would be 1."""
    fast_trials.fake(monkeypatch)
    nothing = Counts(_sums=torch.zeros(3, 2, dtype=torch.float64), bound=math.sqrt(3 * 2))
    monkeypatch.setattr(Score, "run", lambda *_: nothing)
    study = fast_trials.run(tmp_path / "study", PAID)
    config = parse_config(PAID, where="test")
    planned = config.planned_trials + 2
    assert config.privacy is not None
    noise = config.privacy.score_noise(planned) * nothing.bound / PAID["data"]["validation"]
    values = np.array([t.scores[name].replicates for t in study.trials for name in study.measured])
    assert values.shape == (2 * len(study.trials), 3)
    assert np.std(values) == pytest.approx(noise, rel=0.4)


def test_pairs_of_trials_have_the_covariance_of_their_networks(paid):
    scores = [trial.scores for trial in paid.trials]
    values, errors = objective_values(scores, paid.objectives)
    replicates = replicate_values(scores, paid.objectives)
    assert replicates is not None
    assert replicates.shape == (3, *values.shape)
    assert replicates.mean(0) == pytest.approx(values)
    first, second = replicates[:, 0, 0], replicates[:, 1, 0]
    expected = errors[0, 0] ** 2 + errors[1, 0] ** 2 - 2 * np.cov(first, second)[0, 1] / 3
    name = next(iter(paid.objectives))
    found = error_of_difference(scores[0][name], scores[1][name])
    assert found == pytest.approx(math.sqrt(expected))


def test_the_hypervolume_has_an_interval_halves_and_the_test_records(paid):
    frame = read_events(paid.folder)[0]["frame"]
    box = Frame(
        ideal=tuple(frame[name][0] for name in paid.objectives),
        nadir=tuple(frame[name][1] for name in paid.objectives),
    )
    volume = paid.volume
    assert 0 <= volume.low <= volume.high <= 1
    assert 0 <= volume.halves <= 1
    reports = [paid.trial(number).report for number in paid.front]
    expected = hypervolume(objective_values(reports, paid.objectives)[0], frame=box)
    assert volume.tested == pytest.approx(expected)


def test_studies_that_did_not_keep_what_networks_gave_are_read_as_they_were(paid, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(paid.folder, old)
    events = read_events(old)
    assert sum("replicates" in event for event in events) == len(paid.trials)
    write_events(old, [{k: v for k, v in e.items() if k != "replicates"} for e in events])
    study = read_study(old)
    assert study.front == paid.front
    assert study.hypervolume == paid.hypervolume
    assert study.volume is not None
    assert study.volume.halves is None
    assert study.volume.low <= study.volume.high
    one, other = (trial.scores["error"] for trial in study.trials[:2])
    assert error_of_difference(one, other) == pytest.approx(math.hypot(one.se, other.se))


def test_without_two_networks_there_are_no_halves(tiny_open):
    assert tiny_open.config["evaluate"]["replicates"] == 1
    assert tiny_open.volume.halves is None
    assert all(len(t.scores["error"].replicates) == 1 for t in tiny_open.trials)
