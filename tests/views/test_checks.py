"""Masking checks and curves in words, rows and HTML: loud where they fail, honest where absent."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace

import pytest
from fake_study import fake_study

from moc.evaluate.scores import Estimate
from moc.views.checks import (
    checks_failed,
    checks_of_set,
    checks_summary,
    checks_word,
    sorted_curves,
    write_curves,
)
from moc.views.robustness import curve_section, masking_section, protocol_section


def cells(section):
    """The rows of the first table, without tags."""
    rows = re.findall(r"<tr>(.*?)</tr>", section)
    return [[re.sub("<.*?>", "", c) for c in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def dominated(study):
    return next(t.number for t in study.trials if t.number not in study.front)


def test_a_front_that_passes_says_so_for_every_set(tmp_path):
    study = fake_study(tmp_path)
    assert not checks_failed(study)
    assert checks_summary(study) == f"all passed for every set ({len(study.front)}) of the front"
    assert {checks_word(study, n) for n in study.front} == {"passed"}
    assert checks_word(study, dominated(study)) == "not run"


def test_a_failure_is_named_with_its_numbers_wherever_it_is_shown(tmp_path):
    study = fake_study(tmp_path, failing=(1,))
    number = study.front[1]
    summary, name = checks_summary(study), study.trial(number).name
    assert checks_failed(study)
    assert summary.startswith(f"FAILED for 1 of {len(study.front)} sets")
    assert f"{name}: PGD is no weaker than FGSM (49.0% against 63.0%)" in summary
    assert checks_word(study, number) == "1 FAILED"
    assert checks_word(study, study.front[0]) == "passed"
    section = masking_section(study)
    assert 'class="card open"' in section
    assert "<p>FAILED for 1 of " in section
    assert section.count("<details open>") == 1
    assert "✗ FAILED: PGD is no weaker than FGSM" in section


def test_an_older_study_has_one_examined_set_and_says_what_is_missing(tmp_path):
    study = fake_study(tmp_path)
    only = replace(study.masking[0], transfer="")
    older = replace(study, masking=(only,), curves=())
    rest = len(study.front) - 1
    assert checks_summary(older) == (
        f"all passed for 1 of {rest + 1} sets of the front; not run for the other {rest}"
    )
    assert "transfer was not checked" in checks_of_set(older, only.trial)["words"]
    assert checks_of_set(older, study.front[-1])["passed"] is None
    assert "Not measured: not recorded" in curve_section(older)


@pytest.mark.parametrize("why", ["scores are paid for", "they come at the end of the study"])
def test_a_study_without_any_says_why(tmp_path, why):
    study = replace(fake_study(tmp_path, reports=False), unexamined=why)
    assert checks_summary(study) == f"not run: {why}"
    assert checks_of_set(study, study.front[0])["words"] == f"not checked: {why}"
    assert f"Not run: {why}" in masking_section(study)
    assert f"Not measured: {why}" in curve_section(study)


def test_the_card_of_a_set_speaks_of_this_set(tmp_path):
    study = fake_study(tmp_path, failing=(0,))
    bad, good = (checks_of_set(study, n) for n in study.front[:2])
    assert (bad["passed"], good["passed"]) == (False, True)
    assert "1 of 2 FAILED" in bad["words"]
    assert good["words"] == "all 2 passed; network 1 was trained plainly"
    assert [row["passed"] for row in bad["checks"]] == [False, True]
    other = checks_of_set(study, dominated(study))
    assert other["words"] == "not checked: only sets of the front are"


def test_the_file_of_curves_holds_every_number(tmp_path):
    study = fake_study(tmp_path)
    with write_curves(study, tmp_path / "robustness.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * (len(study.front) + len(study.baselines))
    flat = [(c.name, e, v) for c in study.curves for e, v in zip(c.eps, c.errors, strict=True)]
    for row, (name, eps, value) in zip(rows, flat, strict=True):
        assert row["set"] == name
        numbers = [float(row[key]) for key in ("eps", "robust_error", "robust_error_se")]
        assert numbers == [eps, value.mean, value.se]


def test_curves_are_in_the_order_of_the_front_whatever_finished_first(tmp_path):
    study = fake_study(tmp_path)
    shuffled = replace(study, curves=study.curves[::-1])
    assert sorted_curves(shuffled) == list(study.curves)


def test_the_table_of_curves_names_its_rows_and_columns(tmp_path):
    study = fake_study(tmp_path)
    section = curve_section(study)
    head, first, *_ = cells(section)
    assert head == ["set", "eps 0", "eps 0.05", "eps 0.1"]
    low = study.trial(study.front[0]).report["error"].mean
    assert first[:2] == [study.trial(study.front[0]).name, f"{100 * low:.1f} ± 1.0"]
    assert section.count('scope="row"') == len(study.curves)
    assert section.count('scope="col"') == 4
    for part in ("200 test records", "3 networks", "pgd-ce-20, pgd-margin-20", "Linf"):
        assert part in section


def test_what_is_not_known_is_a_dash(tmp_path):
    study = fake_study(tmp_path)
    first = replace(study.curves[0], errors=(Estimate(mean=math.nan, se=math.nan),) * 3)
    assert cells(curve_section(replace(study, curves=(first,))))[1][1:] == ["-", "-", "-"]


def test_words_from_a_study_cannot_break_out(tmp_path):
    evil = "<script>alert(1)</script>"
    study = fake_study(tmp_path)
    checks = replace(study.masking[0], checks=((evil, False, evil),), transfer=evil)
    curves = (replace(study.curves[0], attacks=(evil,)),)
    study = replace(study, masking=(checks,), curves=curves, unexamined=evil, protocol=evil)
    for section in (masking_section, curve_section, protocol_section):
        assert evil not in section(study)
        assert "&lt;script&gt;" in section(study)


def test_the_protocol_is_shown_where_it_is_known(tmp_path):
    study = fake_study(tmp_path)
    assert "suite &#x27;fast&#x27;" in protocol_section(study)
    assert protocol_section(replace(study, protocol="")) == ""
