"""The front as rows and as a table: nothing invented, nothing infinite."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from fake_study import MORE, fake_study
from rich.console import Console

from moc.evaluate.scores import Estimate
from moc.views.table import front_rows, front_table
from moc.views.words import epsilon_words, percent


def printed(study, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(front_table(study))
    return " ".join(console.file.getvalue().split())


def test_rows_are_the_front_by_rising_error_then_the_baselines(tmp_path):
    study = fake_study(tmp_path)
    rows = front_rows(study)
    trials = [row for row in rows if row["kind"] == "trial"]
    assert [row["number"] for row in trials] == list(study.front)
    assert [row["name"] for row in rows[len(trials) :]] == ["random", "herding", "kmeans"]
    first = study.trial(study.front[0])
    assert (rows[0]["error"], rows[0]["error_se"]) == (
        first.scores["error"].mean,
        first.scores["error"].se,
    )
    assert rows[0]["test_robust_error"] == first.report["robust_error"].mean
    assert rows[0]["epsilon"] == first.epsilon


@pytest.mark.parametrize("private", [True, False])
def test_rows_are_strict_json(tmp_path, private):
    rows = front_rows(fake_study(tmp_path, private=private, reports=False))
    json.dumps(rows, allow_nan=False)
    assert {row["test_error"] for row in rows} == {None}


def test_an_open_study_shows_the_word_and_no_number(tmp_path):
    text = printed(fake_study(tmp_path, private=False))
    assert "open" in text
    assert "no privacy is promised" in text
    assert "inf" not in text
    assert "delta" not in text


def test_every_set_says_whether_it_passed_its_checks(tmp_path):
    study = fake_study(tmp_path, failing=(0,))
    rows = [row for row in front_rows(study) if row["kind"] == "trial"]
    assert [row["checks_passed"] for row in rows] == [False] + [True] * (len(rows) - 1)
    text = printed(study)
    assert text.count("FAILED") == 1
    assert text.count(" ok ") == len(rows) - 1
    older = replace(study, masking=study.masking[:1])
    assert [row["checks_passed"] for row in front_rows(older)][:2] == [False, None]
    assert " checks " not in printed(fake_study(tmp_path, reports=False))


def test_columns_say_which_records_they_were_measured_on(tmp_path):
    assert "validation" in printed(fake_study(tmp_path))
    assert "validation validation test test" in printed(fake_study(tmp_path))
    assert "validation validation front" in printed(fake_study(tmp_path, reports=False))


def test_the_table_fits_eighty_columns_and_nothing_is_cut(tmp_path):
    study = fake_study(tmp_path)
    text = printed(study)
    assert "…" not in text
    for number in study.front:
        trial = study.trial(number)
        assert trial.name in text
        assert percent(trial.scores["error"]) in text


def test_a_charge_beyond_the_rung_is_shown_with_the_rung(tmp_path):
    study = fake_study(tmp_path)
    trial = study.trial(study.front[0])
    dearer = replace(trial, epsilon=8.31)
    trials = tuple(dearer if t is trial else t for t in study.trials)
    assert "(rung 8)" in printed(replace(study, trials=trials), width=100)


def test_a_study_that_has_only_begun_has_an_empty_table(tmp_path):
    study = replace(fake_study(tmp_path, trials=0, complete=False), baselines=())
    assert front_rows(study) == []
    assert "not finished" in printed(study)


def test_numbers_in_words():
    assert epsilon_words(math.inf) == "open"
    assert epsilon_words(4.000012) == "4"
    assert percent(Estimate(mean=0.1234, se=0.0056)) == "12.3 ± 0.6"
    assert percent(Estimate(mean=0.1234, se=math.nan)) == "12.3"
    assert percent(None) == "-"


def test_every_objective_has_its_columns(tmp_path):
    study = fake_study(tmp_path, more=MORE)
    row = front_rows(study)[0]
    for name, objective in study.objectives.items():
        assert row[name] is not None
        assert (f"{name}_se" in row) == (f"test_{name}" in row) == (not objective.exact)
    text = printed(study, width=200)
    for words in ("worst-class", "calibration", "stored", "7.68"):
        assert words in text
