"""The command line on a stored study: output, exit codes, and words instead of tracebacks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_study import fake_study
from typer.testing import CliRunner

from moc.cli import app
from moc.errors import MocError

runner = CliRunner()
QUICK = ("--no-mlflow", "--no-confirm")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder of runs with one study that reads back from its own ledgers."""
    from moc.study import store

    study = fake_study(tmp_path / "runs" / "demo")
    monkeypatch.setattr(store, "read_study", lambda _path: study)
    return tmp_path / "runs"


def invoke(*arguments):
    result = runner.invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit | MocError):
        raise result.exception
    return result


def test_help_names_every_command():
    text = invoke("--help").output
    for command in ("study", "check", "front", "choose", "export", "ledger", "audit", "sync", "ui"):
        assert command in text


def test_check_tries_a_study_out_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MOC_LEDGER", str(tmp_path / "ledger.jsonl"))
    file = Path(__file__).parents[1] / "studies" / "digits.toml"
    result = invoke("check", file, "--runs", tmp_path / "runs")
    assert "1000 records of shape (1, 8, 8) in 10 classes" in " ".join(result.output.split())
    assert "20 trials on 4 rungs" in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())
    large = tmp_path / "large.toml"
    more = "images_per_class = 10\ndecoder = {multi_formation = 9}"
    large.write_text(file.read_text().replace("images_per_class = 10", more))
    wrong = invoke("check", large, "--runs", tmp_path / "runs")
    assert "give it at least 810" in str(wrong.exception)
    assert [one.name for one in tmp_path.iterdir()] == ["large.toml"]


def test_front_as_json_has_a_row_for_each_trial_of_the_front(runs):
    rows = json.loads(invoke("front", "demo", "--runs", runs, "--output", "json").output)
    assert {row["kind"] for row in rows} == {"trial", "baseline"}
    assert all(0 <= row["error"] <= 1 for row in rows)


def test_front_prints_the_checks_of_each_set_and_of_all(runs):
    output = invoke("front", "demo", "--runs", runs).output
    assert "Masking checks: all passed for every set" in " ".join(output.split())
    assert output.count(" ok") > 1


def test_a_failed_check_is_loud_in_front_and_in_choose(tmp_path, monkeypatch):
    from moc.study import store

    runs, out = tmp_path / "runs", tmp_path / "chosen"
    size = len(fake_study(runs / "demo").front)
    study = fake_study(runs / "demo", failing=tuple(range(size)))
    monkeypatch.setattr(store, "read_study", lambda _path: study)
    shown = " ".join(invoke("front", "demo", "--runs", runs).output.split())
    assert f"Masking checks: FAILED for {size} of {size} sets" in shown
    chosen = invoke(
        "choose", "demo", "--runs", runs, "--out", out, "--no-mlflow", "--no-confirm"
    ).output
    assert "Masking checks of this set: 1 of 2 FAILED" in chosen
    assert "Masking checks of this set: 1 of 2 FAILED" in (out / "README.md").read_text()


def test_choose_shows_reasons_and_exports_a_card(runs, tmp_path):
    out = tmp_path / "chosen"
    result = invoke(
        "choose",
        "demo",
        "--runs",
        runs,
        "--epsilon",
        8,
        "--out",
        out,
        "--no-mlflow",
        "--no-confirm",
    )
    assert result.exit_code == 0
    assert result.output.startswith("1. trial-")
    card = (out / "README.md").read_text()
    assert "epsilon" in card.lower()
    assert any(out.glob("*.safetensors"))


def test_any_objective_can_be_limited_and_preferred(runs, tmp_path):
    wanted = ("--limit", "robust-error=0.8", "--prefer", "epsilon", "--out", tmp_path / "out")
    result = invoke("choose", "demo", "--runs", runs, *wanted, *QUICK)
    assert "Lowest epsilon within the limits" in result.output
    assert "robust error ≤ 80 %" in (tmp_path / "out" / "README.md").read_text()
    wrong = invoke(
        "choose", "demo", "--runs", runs, "--limit", "size", "--no-mlflow", "--no-confirm"
    )
    assert "NAME=VALUE expected" in str(wrong.exception)


def test_impossible_limits_are_explained(runs):
    result = invoke(
        "choose", "demo", "--runs", runs, "--error", 0.0001, "--no-mlflow", "--no-confirm"
    )
    assert isinstance(result.exception, MocError)
    assert "Closest is trial-" in str(result.exception)


def test_a_wrong_trial_number_is_explained(runs, tmp_path):
    result = invoke("export", 999, tmp_path / "out", "demo", "--runs", runs)
    assert "not 999" in str(result.exception)


def test_a_missing_study_is_one_sentence_and_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "moc.cli", "front", "nothing", "--runs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "moc study studies/digits.toml" in done.stderr


def test_a_broken_study_file_is_refused_before_anything_is_run(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("name = 'x'\n")
    result = invoke("study", path, "--runs", tmp_path / "runs")
    assert "data" in str(result.exception)
    assert not (tmp_path / "runs").exists()
