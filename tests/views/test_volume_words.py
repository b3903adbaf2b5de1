"""What a study says of its hypervolume."""

from __future__ import annotations

from dataclasses import replace

from fake_study import fake_study

from moc.search.certainty import Volume
from moc.views.page import write_page
from moc.views.words import volume_checks, volume_words


def test_what_is_not_known_is_not_said(tmp_path):
    study = replace(fake_study(tmp_path, trials=3), volume=None)
    assert volume_words(study) == f"{study.hypervolume[-1]:.3f}"
    assert volume_checks(study) == ""
    assert volume_words(replace(study, hypervolume=())) == "not measured yet"
    without = replace(study, volume=Volume(low=0.1, high=0.3))
    assert volume_checks(without) == ""
    assert volume_words(without).endswith("(95 %: 0.100 to 0.300)")


def test_the_report_has_the_interval_and_what_choice_did_not_flatter(tmp_path):
    study = fake_study(tmp_path, trials=3)
    study = replace(study, volume=Volume(low=0.1, high=0.3, halves=0.17, tested=0.15))
    page = write_page(study, tmp_path / "report.html").read_text(encoding="utf-8")
    for words in (volume_words(study), "0.170 if half", "0.150 by fresh networks"):
        assert words in page
