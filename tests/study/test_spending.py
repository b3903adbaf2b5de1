"""What studies of the same records spend together, as the command line says it."""

from __future__ import annotations

import pytest
from tiny import PRIVATE, TINY
from typer.testing import CliRunner

from moc.cli import app
from moc.errors import BudgetExceededError, StudyError
from moc.evaluate.scoring import outcome_bound
from moc.study.config import parse_config
from moc.study.run import run_study

SHORT = {
    **PRIVATE,
    "objectives": {"error": {}, "worst_class_error": {}},
    "evidence": "moments",
    "evaluate": {**PRIVATE["evaluate"], "report_replicates": 0},
}
FILE = """
name = "tiny-private"
[data]
source = "digits"
train = 300
validation = 60
test = 60
reference = 150
public = ["validation", "test", "reference"]
[privacy]
epsilons = [8.0, 2.0]
[objectives.error]
[objectives.worst_class_error]
"""


def run(tables, folder):
    return run_study(parse_config(tables, where="test"), folder)


def say(*arguments) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exception:
        raise result.exception
    return result.output


def test_two_studies_of_one_data_set_print_what_they_compose_to(tmp_path, monkeypatch):
    monkeypatch.setenv("MOC_LEDGER", str(tmp_path / "ledger"))
    runs, file = tmp_path / "runs", tmp_path / "study.toml"
    for name in ("one", "two"):
        run({**SHORT, "name": name}, runs / name)
    run({**SHORT, "name": "two"}, runs / "two")  # taken up again: nothing is drawn
    output = say("ledger", "one", "--runs", runs)
    assert "- total: epsilon 8 at delta 1e-05" in output
    assert output.count("by rung: epsilon 8, epsilon 2); drawn: 1 of release/0") == 2
    assert "total over 2 studies: epsilon 12.2" in output
    file.write_text(FILE)
    assert "of a budget of 13" in say("ledger", file, "--runs", runs, "--budget", 13)
    before = (tmp_path / "ledger").read_bytes()
    with pytest.raises(BudgetExceededError, match=r"would fit\. Nothing was read"):
        run({**SHORT, "name": "three"}, runs / "three")
    assert (tmp_path / "ledger").read_bytes() == before
    assert not list((runs / "three").glob("*.json*")), "a study of less may take its place"


def test_scores_that_could_tell_no_sets_apart_are_refused_before_they_are_paid_for(tmp_path):
    tables = {**SHORT, "privacy": {"epsilons": [1.0], "scoring": 0.01}}
    tables["data"] = {**SHORT["data"], "public": ["test", "reference"]}
    with pytest.raises(StudyError, match=r"Nothing was read: scores on 60 private records carry"):
        run(tables, tmp_path / "study")
    assert not (tmp_path / "study" / "privacy.jsonl").exists()


def test_the_noise_of_paid_scores_is_said_before_they_are_paid_for(tmp_path):
    from moc.study.context import StudyContext
    from moc.study.reporter import Silent

    lines = []

    class Told(Silent):
        def say(self, line):
            lines.append(line)

    tables = {**SHORT, "privacy": {"epsilons": [8.0], "scoring": 0.5, "tier": "hardened"}}
    tables["data"] = {**SHORT["data"], "validation": 300, "public": ["test", "reference"]}
    config = parse_config(tables, where="test")
    context = StudyContext.load(config, tmp_path / "study", Told())
    (line,) = [line for line in lines if line.startswith("Paid scores on 300 private records")]
    noise = (
        context.held_out["validation"]
        .publish(
            context.held_out["validation"].count(
                lambda x, y: (x[:, :1, :1, :1] * 0).reshape(len(y), 1, 1), bound=1.0
            )
        )
        .noise
    )
    bound = outcome_bound(context.measures_of(context.training_suite), 1)
    assert float(line.split("±")[1].split()[0]) == pytest.approx(100 * noise * bound, rel=0.05)
    (access,) = [a for a in context.ledger.accesses if a.kind == "gaussian"]
    assert "discrete Gaussian" in access.purpose


def test_a_refusal_that_had_to_look_at_labels_says_that_the_ledger_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("MOC_LEDGER", str(tmp_path / "ledger.jsonl"))
    data = {**TINY["data"], "reference": 0, "train": 150}
    large = {**TINY, "condense": {**TINY["condense"], "images_per_class": 40}}
    for tables, looked in (({**large, "data": data}, True), (large, False)):
        with pytest.raises(StudyError, match="need 40 records of each class") as caught:
            run(tables, tmp_path / "study")
        assert ("which its records' ledger says" in str(caught.value)) == looked
        assert not (tmp_path / "study").exists()
    assert (tmp_path / "ledger.jsonl").read_text().count('"spent"') == 1
