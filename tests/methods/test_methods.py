"""Named methods: entries of a study file, which what the file says itself goes before."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from tiny import TINY
from typer.testing import CliRunner

from moc.cli import app
from moc.commands.methods import reads, seconds_a_step
from moc.errors import StudyError
from moc.methods import method_called, methods, source_of
from moc.study.config import parse_config
from moc.study.run import run_study

NAMES = sorted(methods())
runner = CliRunner()


def study(**tables):
    base = {k: v for k, v in TINY.items() if k not in ("objectives", "condense")}
    small = {"condense": {"images_per_class": 2, "steps": 2}}
    return parse_config({**base, **small, **tables}, where="test")


def test_the_methods_of_the_field_are_there():
    assert {
        *("dm", "dc", "dsa", "idc", "m3d", "ncfm", "datadam"),
        *("unidd", "kip", "frepo", "label-solve", "mtt"),
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
class TestEveryMethod:
    def test_it_says_what_it_is(self, name):
        method = method_called(name)
        assert method.title
        assert "arXiv" in method.paper
        assert method.formula
        assert method.differs

    def test_a_study_file_that_names_it_has_its_entries(self, name):
        config, method = study(method=name), method_called(name)
        assert config.discrepancy == method.discrepancy
        assert list(config.objectives) == ["error", "robust_error"]
        for key in method.study["condense"]:
            assert key in config.condense.model_fields_set
        assert config.condense.steps == 2, "the file's own entries stay"

    def test_what_is_printed_can_be_pasted(self, name):
        entries = tomllib.loads(source_of(method_called(name)))
        assert entries == method_called(name).study

    def test_it_reads_records_or_sums(self, name):
        found = reads(method_called(name))
        assert {"samples", "proxy"} <= set(found)
        assert ("moments" in found) == ("records" not in method_called(name).needs)


def test_a_step_of_a_method_has_a_price():
    assert 0 < seconds_a_step(method_called("dm")) < 10


def test_an_entry_of_the_file_goes_before_the_methods():
    config = study(
        method="m3d", objectives={"error": {"discrepancy": "sinkhorn"}, "stored_bytes": {}}
    )
    assert config.discrepancy.kind == "sinkhorn"
    assert config.condense.decoder.multi_formation == 2
    assert list(config.objectives) == ["error", "stored_bytes"]


def test_unknown_methods_are_refused_with_the_known_ones():
    with pytest.raises(StudyError, match=r"A method among datadam, dc, .* found 'dmm'"):
        study(method="dmm")
    with pytest.raises(StudyError, match="found 'dmm'"):
        study(search={"trials": 4, "choices": {"method": ["dm", "dmm"]}})


def test_a_search_chooses_among_methods():
    config = study(search={"trials": 4, "choices": {"method": ["dm", "ncfm", "frepo"]}})
    first, second, third = config.recipes
    assert first.discrepancy.kind == "feature-mean"
    assert first.condense.labels == "hard"
    assert second.discrepancy == method_called("ncfm").discrepancy
    assert second.condense.decoder.multi_formation == 2
    assert third.condense.pool is not None
    assert third.condense.labels == "learned"
    assert {one.condense.steps for one in config.recipes} == {2}


def test_a_method_that_changes_the_evidence_is_no_choice():
    with pytest.raises(StudyError, match="'dsa' changes \\[evidence\\], which all recipes"):
        study(search={"trials": 4, "choices": {"method": ["dm", "dsa"]}})


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A study of three methods, which a grid takes at the same places."""
    config = study(
        search={
            "trials": 7,
            "batch": 7,
            "engine": "grid",
            "choices": {"method": ["dm", "m3d", "kip"]},
        }
    )
    return run_study(config, tmp_path_factory.mktemp("methods") / "study")


def test_methods_are_compared_in_one_study(compared):
    recipes = [compared.space.recipe(trial.point) for trial in compared.trials]
    assert [recipes.count(number) for number in range(3)] == [3, 3, 3]
    places = {(compared.space.recipe(t.point), t.point["robust_error"]) for t in compared.trials}
    assert places == {(number, w) for number in range(3) for w in (0.0, 0.5, 1.0)}


def test_the_report_puts_methods_side_by_side(compared):
    from moc.views.figures import Figures
    from moc.views.page import write_page

    page = write_page(compared, compared.folder / "report.html").read_text(encoding="utf-8")
    section = page[page.index("Recipes side by side") :]
    for name in ("dm", "m3d", "kip"):
        assert f'<th scope="row">{name}</th>' in section
    Figures().write(compared)
    assert (compared.folder / "recipes.png").stat().st_size > 10_000


def test_the_command_lists_them():
    listed = runner.invoke(app, ["methods"])
    assert listed.exit_code == 0
    for name in NAMES:
        assert f"\n{name} " in listed.output
    one = runner.invoke(app, ["methods", "ncfm"])
    assert "arXiv 2502.20653" in one.output
    assert "[objectives.error]" in one.output
    described = json.loads(runner.invoke(app, ["methods", "dm", "--json"]).output)
    assert described[0]["evidence"] == ["samples", "proxy", "moments"]


def test_the_command_refuses_what_it_does_not_know():
    from moc.errors import MocError

    result = runner.invoke(app, ["methods", "dmm"])
    assert isinstance(result.exception, MocError)


def test_the_pages_name_every_method_and_show_one_as_it_is():
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "methods.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in NAMES)
    shown = (docs / "add-a-discrepancy.md").read_text(encoding="utf-8")
    own = files("moc.methods").joinpath("m3d.toml").read_text(encoding="utf-8")
    assert f"```text\n{own}```" in shown
