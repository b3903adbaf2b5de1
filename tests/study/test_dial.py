"""One more point of a curve after the study, and a choice confirmed: scored, kept, not twice."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from tiny import TINY
from typer.testing import CliRunner

from moc.cli import app
from moc.data.storage import load_set
from moc.errors import MocError, NotFiniteError, StudyError
from moc.evaluate.protocols.base import ADVERSARIAL
from moc.evaluate.scoring import count_together, publish_scores
from moc.evaluate.suites import FastSuite
from moc.evaluate.trained import Trained
from moc.export import export_set
from moc.policy.choose import choose_set
from moc.policy.rules import suggest
from moc.study import measuring_jobs
from moc.study.config import parse_config
from moc.study.dial import _CONFIRMED, Dial
from moc.study.events import StudyLedger
from moc.study.expected import expected
from moc.study.measuring import Way, look_closer, measure
from moc.study.measuring_jobs import Examine
from moc.study.records import curve_path
from moc.study.reporter import Silent
from moc.study.run import run_study
from moc.study.store import read_study
from moc.study.worklist import network_seeds
from moc.views.words import confirmation_words, scores_words


@pytest.fixture
def copy(tiny_open, tmp_path):
    """A study of one's own."""
    shutil.copytree(tiny_open.folder, tmp_path / "tiny")
    return read_study(tmp_path / "tiny")


def test_trials_are_points_of_the_curve_of_their_rung(tiny_private):
    rungs = {trial.rung_index for trial in tiny_private.trials}
    assert rungs == {0, 1}
    for trial in tiny_private.trials:
        found = tiny_private.curve(trial.rung.epsilon).at(**trial.point)
        stored = load_set(tiny_private.folder / trial.set_path)
        torch.testing.assert_close(found.x, stored.x)
        torch.testing.assert_close(found.labels, stored.labels)


def test_a_new_point_is_scored_as_a_trial_of_the_search_was(copy):
    anchor = copy.trials[1]
    assert Dial(copy, Silent()).trial(anchor.point, 0, epsilon=math.inf) == anchor.number
    number = Dial(copy, Silent()).trial({"robust_error": 0.3141}, 0, epsilon=math.inf)
    after = read_study(copy.folder)
    trial = after.trial(number)
    assert (trial.kind, number) == ("dialled", len(copy.trials))
    assert trial.point == {"robust_error": 0.3141}
    assert trial.epsilon == math.inf
    assert set(trial.scores) == set(anchor.scores)
    assert len(after.hypervolume) == len(after.trials)
    again = Dial(after, Silent())
    assert again.trial({"robust_error": 0.3141}, 0, epsilon=math.inf) == number
    assert len(read_study(copy.folder).trials) == len(after.trials)
    # The same point as an anchor gets the anchor's very scores: same networks, same records.
    path = copy.folder / anchor.set_path
    shutil.copy(path, again._path(99))
    way = Way(event="scored", records="validation", seeds=network_seeds(again.config, test=False))
    suite = again.context.suites["validation"]
    (found,) = measure(again.context, 99, [way], suite=suite, epsilon=math.inf)
    assert found.scores["error"] == anchor.scores["error"]


def test_a_point_costs_what_its_choice_depends_on_and_no_smaller_rung_sees_it(
    tiny_private, tmp_path
):
    shutil.copytree(tiny_private.folder, tmp_path / "tiny")
    study = read_study(tmp_path / "tiny")
    before = expected(study)[1].mean("error")
    dial = Dial(study, Silent())
    dear = dial.trial({"robust_error": 0.37}, 1, epsilon=study.epsilon)
    after = read_study(study.folder)
    assert after.trial(dear).epsilon == study.epsilon == after.trial(dear).scores["epsilon"].mean
    assert (expected(after)[1].mean("error") == before).all()
    assert all(s.trial.number != dear for s in suggest(after, {"epsilon": 4.0}))
    own = next(trial.epsilon for trial in study.trials if trial.rung_index == 1)
    cheap = Dial(after, Silent()).trial({"robust_error": 0.61}, 1, epsilon=own)
    assert read_study(study.folder).trial(cheap).epsilon == own


def test_a_confirmation_is_made_once_by_fresh_networks(copy):
    dial = Dial(copy, Silent())
    dial.confirm(0, suite="fast")
    found = read_study(copy.folder).confirmations[0]
    assert (found.suite, found.networks, found.records) == ("fast", 1, 60)
    assert 0 <= found.scores["error"].mean <= found.scores["robust_error"].mean
    assert found.training_attack == ""
    lines = len(StudyLedger(copy.folder / "study.jsonl").events)
    Dial(copy, Silent()).confirm(0, suite="fast")
    assert len(StudyLedger(copy.folder / "study.jsonl").events) == lines


def test_every_network_of_a_confirmation_counts(copy):
    dial = Dial(copy, Silent())
    evaluate = dial.config.evaluate.model_copy(update={"report_replicates": 3})
    dial.config = dial.config.model_copy(update={"evaluate": evaluate})
    dial.confirm(0, suite="fast")
    study = read_study(copy.folder)
    seeds = [seed + _CONFIRMED for seed in network_seeds(dial.config, test=True)]
    assert study.confirmations[0].networks == len(set(seeds)) == 3
    context = dial.context
    expected = publish_scores(
        Trained(load_set(copy.folder / study.trials[0].set_path), seeds=seeds),
        measures=context.measures_of(FastSuite()),
        held_out=context.held_out["test"],
    )
    for name, found in study.confirmations[0].scores.items():
        assert (found.mean, found.se) == pytest.approx((expected[name].mean, expected[name].se))


def test_a_closer_look_after_the_study_finds_what_the_study_found(copy):
    """A job a network, where the study has one for all; the same networks and records."""
    dial = Dial(copy, Silent())
    evaluate = dial.config.evaluate.model_copy(update={"report_replicates": 2})
    dial.config = dial.config.model_copy(update={"evaluate": evaluate})
    context = dial.context
    job = Examine(
        key="examine",
        name="trial-000",
        path=copy.folder / copy.trials[0].set_path,
        records="examined",
        seeds=network_seeds(dial.config, test=True),
        checked=True,
    )
    at_once = job.run(context.worker(), lambda *_: None)
    found = look_closer(context, 0, transferred=())
    assert found.checks == at_once.checks
    assert torch.equal(found.curve._sums, at_once.curve._sums)
    assert len(found.curve._sums) == len(job.seeds) > 1


def test_a_confirmation_that_fails_says_so_and_notes_nothing(copy, monkeypatch):
    def fail(*_, **__):
        raise NotFiniteError("no numbers")

    monkeypatch.setattr(measuring_jobs, "count_together", fail)
    with pytest.raises(StudyError, match=r"trial-000 by network \d+ failed: no numbers"):
        Dial(copy, Silent()).confirm(0, suite="fast")
    assert read_study(copy.folder).confirmations == {}


def test_a_confirmation_says_what_training_under_attack_gives(copy, tmp_path, monkeypatch):
    trained = []

    def count(given, **rest):
        trained.append(next(iter(rest["measures"].values())).training)
        return count_together(given, **rest)

    monkeypatch.setattr(measuring_jobs, "count_together", count)
    Dial(copy, Silent()).confirm(0, suite="fast")
    assert [training.attack for training in trained] == [ADVERSARIAL, None]
    assert trained[0].threat == Dial(copy, Silent()).config.threat
    study = read_study(copy.folder)
    one = study.confirmations[0]
    assert (one.hardened.attacks, one.hardened.records) == (one.attacks, one.records)
    assert one.hardened.training_attack == "pgd-ce-4"
    assert one.hardened.scores["error"].mean <= one.hardened.scores["robust_error"].mean
    assert one.hardened.scores != one.scores
    assert [name for name, _, _ in one.hardened.masking.checks] == [
        name for name, _, _ in study.checks(0).checks if "transfer" not in name
    ]
    assert one.masking is None
    words = confirmation_words(study, 0)
    assert f"Masking checks there: {one.hardened.masking.describe()}." in words
    assert "every batch of training is attacked (pgd-ce-4)" in words
    assert scores_words(one.hardened.scores, study.measured) in words
    out = export_set(study, 0, tmp_path / "out")
    card = json.loads((out / "card.json").read_text())["confirmation"]
    mean, se = card["hardened"]["scores"]["robust_error"]
    assert len(card["hardened"]["masking"]["checks"]) == 9
    found = one.hardened.scores["robust_error"]
    assert (mean, se) == pytest.approx((found.mean, found.se))
    assert words in (out / "README.md").read_text()


def test_a_study_that_is_under_way_is_not_opened(copy):
    ledger = copy.folder / "study.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(line for line in lines if '"finished"' not in line))
    with pytest.raises(StudyError, match="not run to its end"):
        Dial(read_study(copy.folder), Silent())


@pytest.mark.slow
def test_choose_takes_the_best_point_confirms_and_exports_it(copy, tmp_path):
    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit | MocError):
            raise result.exception
        return result

    common = ("choose", copy.folder, "--no-mlflow")
    result = invoke(*common, "--at", "0.25", "--out", tmp_path / "out")
    assert "Confirmed by 1 fresh networks on 60 test records, under APGD-CE" in result.output
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Confirmed by 1 fresh networks" in card
    assert "Expected at w(robust_error) = 0.25" in card
    again = invoke(*common, "--at", "0.25", "--out", tmp_path / "out")
    assert "An empty or new folder expected" in str(again.exception)
    wrong = invoke(*common, "--at", "half", "--out", tmp_path / "other")
    assert "--at WEIGHT or NAME=WEIGHT" in str(wrong.exception)


def test_limits_choose_a_point_and_apart_falls_back_to_trials(copy):
    said = []
    options = {"confirmed": False, "reporter": Silent(), "say": said.append}
    choice = choose_set(copy, {"error": 0.99}, **options)
    assert choice.study.trial(choice.number).kind in ("dialled", "anchor", "search")
    assert "lowest expected robust error within" in said[1]
    taken = choose_set(copy, {}, take=1, **options)
    assert taken.number in copy.front


def test_sets_apart_have_no_curve(tmp_path):
    tables = {**TINY, "name": "apart", "condense": {**TINY["condense"], "front": "apart"}}
    study = run_study(parse_config(tables, where="test"), tmp_path / "apart")
    assert len(study.trials) == 6
    assert not (study.folder / curve_path(0)).exists()
    with pytest.raises(StudyError, match="condensed apart"):
        choose_set(
            study, {}, point={"robust_error": 0.5}, reporter=Silent(), say=print, confirmed=False
        )
