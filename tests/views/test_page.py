"""The page stands alone, tells the truth, and reacts in a browser."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from fake_study import MORE, fake_study
from PIL import Image

from moc.data.storage import load_set
from moc.errors import DataError
from moc.study.attempts import Failed
from moc.views.contact_sheet import contact_sheet
from moc.views.page import write_page


def embedded(page):
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1], parse_constant=pytest.fail)


def own_text(page):
    """The page without plotly.js."""
    from plotly.offline import get_plotlyjs

    return page.read_text(encoding="utf-8").replace(get_plotlyjs(), "")


def test_nothing_is_loaded_from_anywhere(tmp_path):
    text = own_text(write_page(fake_study(tmp_path), tmp_path / "report.html"))
    assert not re.search(r"https?://|//cdn|<link|@import|src=\"(?!data:)", text)
    assert not re.search(r"\{\{\w+\}\}", text)


def test_the_data_are_the_scores_in_percent_of_every_trial(tmp_path):
    study = fake_study(tmp_path)
    data = embedded(write_page(study, tmp_path / "report.html"))
    assert [row["name"] for row in data["trials"]] == [trial.name for trial in study.trials]
    for row, trial in zip(data["trials"], study.trials, strict=True):
        assert row["front"] == (trial.number in study.front)
        mean, se = row["validation"]["robust_error"]
        assert mean == pytest.approx(100 * trial.scores["robust_error"].mean)
        assert se == pytest.approx(100 * trial.scores["robust_error"].se)
        assert (row["test"] is None) == (trial.report is None)
        assert data["rungs"][row["rung"]]["words"] == f"{trial.epsilon:g}"
    assert data["hypervolume"] == list(study.hypervolume)


def test_the_curves_and_checks_are_in_the_data_and_in_the_text(tmp_path):
    study = fake_study(tmp_path, failing=(0,))
    page = write_page(study, tmp_path / "report.html")
    data = embedded(page)
    assert data["threat"] == 0.1
    assert [row["name"] for row in data["curves"]] == [curve.name for curve in study.curves]
    for row, curve in zip(data["curves"], study.curves, strict=True):
        assert row["eps"] == list(curve.eps)
        means, ses = zip(*row["errors"], strict=True)
        assert means == pytest.approx([100 * error.mean for error in curve.errors])
        assert ses == pytest.approx([100 * error.se for error in curve.errors])
    words = {row["name"]: row["checks"] for row in data["trials"]}
    assert words[study.trial(study.front[0]).name] == "1 FAILED"
    assert list(words.values()).count("passed") == len(study.front) - 1
    text = own_text(page)
    assert '<div id="curves">' in text
    assert "do not rely on the robust errors" in text


def test_each_trial_carries_its_own_contact_sheet(tmp_path):
    study = fake_study(tmp_path, trials=3)
    data = embedded(write_page(study, tmp_path / "report.html"))
    for row, trial in zip(data["trials"], study.trials, strict=True):
        sheet = Image.open(io.BytesIO(base64.b64decode(row["sheet"])))
        expected = contact_sheet(load_set(tmp_path / trial.set_path))
        np.testing.assert_array_equal(np.asarray(sheet), np.asarray(expected))


def test_of_many_sets_those_of_the_front_are_shown_first(tmp_path, monkeypatch):
    study = fake_study(tmp_path, trials=12)
    monkeypatch.setattr("moc.views.page._PICTURED", len(study.front) + 1)
    data = embedded(write_page(study, tmp_path / "report.html"))
    shown = {row["name"] for row in data["trials"] if row["sheet"]}
    assert len(shown) == len(study.front) + 1 < len(data["trials"])
    assert {study.trial(number).name for number in study.front} < shown


def test_a_private_study_says_what_epsilon_promises_and_lists_its_accesses(tmp_path):
    study = fake_study(tmp_path)
    text = own_text(write_page(study, tmp_path / "report.html"))
    assert "Privacy: epsilon 8.31 at delta 1e-05" in text
    assert "What it does not promise" in text
    assert all(line.replace(">", "&gt;") in text for line in study.privacy)


def test_an_open_study_promises_nothing_and_shows_no_epsilon(tmp_path):
    page = write_page(fake_study(tmp_path, private=False), tmp_path / "report.html")
    assert "Privacy: none" in own_text(page)
    assert "What epsilon promises" not in own_text(page)
    assert {row["epsilon"] for row in embedded(page)["trials"]} == {None}


def test_every_objective_is_in_the_data_in_the_unit_that_is_shown(tmp_path):
    study = fake_study(tmp_path, trials=3, more=MORE)
    data = embedded(write_page(study, tmp_path / "report.html"))
    assert [row["name"] for row in data["objectives"]] == list(study.objectives)
    assert data["axes"] == ["error", "robust_error"]
    first = data["trials"][0]["validation"]
    assert list(first) == list(study.objectives)
    assert first["stored_bytes"] == [7.68, None]
    assert first["worst_class_error"][1] == pytest.approx(5.0)
    assert data["trials"][0]["weights"] == study.trials[0].weights


def test_names_cannot_break_out_of_the_page(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>"
    study = fake_study(tmp_path, trials=2)
    baseline = replace(study.baselines[0], name=evil)
    page = write_page(
        replace(study, name=evil, privacy=(evil,), baselines=(baseline,)), tmp_path / "report.html"
    )
    assert evil not in own_text(page)
    assert embedded(page)["baselines"][0]["name"] == evil


def test_a_study_that_has_only_begun_has_a_page(tmp_path):
    study = replace(fake_study(tmp_path, trials=0, complete=False), baselines=())
    assert embedded(write_page(study, tmp_path / "report.html"))["trials"] == []


def test_an_unknown_standard_error_is_null(tmp_path):
    study = fake_study(tmp_path, trials=1)
    first = study.trials[0]
    scores = {**first.scores, "error": replace(first.scores["error"], se=math.nan)}
    page = write_page(
        replace(study, trials=(replace(first, scores=scores),)), tmp_path / "report.html"
    )
    assert embedded(page)["trials"][0]["validation"]["error"][1] is None


def test_a_missing_set_is_named(tmp_path):
    study = fake_study(tmp_path, trials=2)
    (tmp_path / study.trials[1].set_path).unlink()
    with pytest.raises(DataError, match="trial-001"):
        write_page(study, tmp_path / "report.html")


def test_trials_that_failed_are_named_with_their_cause(tmp_path):
    study = fake_study(tmp_path)
    assert "Trials that have failed" not in own_text(write_page(study, tmp_path / "a.html"))
    failed = (Failed(number=31, stage="scoring", cause="out of memory <twice>"),)
    text = own_text(write_page(replace(study, failed=failed), tmp_path / "b.html"))
    section = text[text.index("Trials that have failed") :][:900]
    for part in ("trial-031", "scoring", "out of memory &lt;twice&gt;"):
        assert part in section
