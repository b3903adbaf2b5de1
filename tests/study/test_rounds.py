"""Rounds whose networks learn from the rounds before: what they may see, pay and claim."""

from __future__ import annotations

import shutil

import pytest
import torch
from privacy import planted
from safetensors.torch import load_file, save_file
from study.test_rungs import with_another_rung_0
from tiny import PRIVATE

from moc.audit.study import audit_config
from moc.errors import PrivacyError, StudyError
from moc.privacy.ledger import Ledger
from moc.study.config import StudyConfig, parse_config
from moc.study.context import StudyContext, budget_of
from moc.study.division import parts_of, public_parts
from moc.study.reporter import Silent
from moc.study.rounds import collection_of, draw_rounds
from moc.study.run import run_study

NETWORKS = {"networks": ["convnet2-w8"], "count": 3}
LEARNED = {"images_per_class": 2, "steps": 2, "ages": [1, 2], "batch": 8}
TABLES = {
    **PRIVATE,
    "name": "two-rounds",
    "rounds": [{**NETWORKS, "share": 0.3}, {**NETWORKS, "share": 0.7, "learned": LEARNED}],
}


def context_of(folder, config: StudyConfig | None = None) -> StudyContext:
    config = config or parse_config(TABLES, where="test")
    ledger = Ledger(budget_of(config), path=folder / "privacy.jsonl")
    for name, part in parts_of(config).items():
        ledger.own(name, part, public=name in public_parts(config))
    return StudyContext(config, ledger, folder=folder, reporter=Silent())


def networks_of(moments):
    """The networks of the second round, as one vector."""
    collection = moments._rounds[1][0]
    members = [collection.bank.member(k) for k in range(collection.networks)]
    return torch.cat([p.flatten() for one in members for p in one.network.parameters()])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds")
    context = context_of(folder)
    return context, draw_rounds(context)


@pytest.mark.usefixtures("dry_runs")
def test_a_study_of_two_rounds_spends_its_budget_once(tmp_path):
    study = run_study(parse_config(TABLES, where="test"), tmp_path / "a")
    first, second = (line for line in study.privacy if line.startswith("release/"))
    assert "3 public networks" in first
    assert "3 networks that learned (sha256 " in second
    assert study.front
    assert all(trial.scores["epsilon"].mean <= 8.0 * (1 + 1e-9) for trial in study.trials)


def test_both_rungs_cost_what_they_claim(drawn):
    context, _ = drawn
    assert context.ledger.epsilon(0) == pytest.approx(8.0, rel=1e-3)
    assert context.ledger.epsilon(1) == pytest.approx(2.0, rel=1e-3)
    assert context.ledger.epsilon(0) <= 8.0


def test_networks_of_the_second_round_have_learned(drawn):
    context, moments = drawn
    before = collection_of(context, 1).bank.member(0).network
    after = moments._rounds[1][0].bank.member(0).network
    moved = [
        not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)
    ]
    assert all(moved)


def networks_under_another_rung_0(folder, other):
    shutil.copytree(folder / "release-1", other / "release-1")
    return networks_of(draw_rounds(context_of(other)))


def test_networks_owe_nothing_to_the_rungs_above_the_smallest(drawn, tmp_path):
    context, moments = drawn
    other = with_another_rung_0(context.folder, tmp_path / "other")
    assert torch.equal(networks_under_another_rung_0(context.folder, other), networks_of(moments))


def test_networks_that_learn_from_the_largest_rung_are_caught(tmp_path, monkeypatch):
    planted.the_largest_rungs_networks_for_all(monkeypatch)
    draw_rounds(context_of(tmp_path))
    other = with_another_rung_0(tmp_path, tmp_path / "other")
    with pytest.raises(PrivacyError, match="was paid for as"):
        networks_under_another_rung_0(tmp_path, other)


def copy_of(drawn, folder):
    return shutil.copytree(drawn[0].folder, folder / "copy")


def test_a_second_run_reads_both_rounds_back(drawn, tmp_path):
    folder = copy_of(drawn, tmp_path)
    found = draw_rounds(context_of(folder))
    assert torch.equal(networks_of(found), networks_of(drawn[1]))
    for (_, a), (_, b) in zip(found._rounds, drawn[1]._rounds, strict=True):
        assert torch.equal(a[1].by_name["class-means"], b[1].by_name["class-means"])


def test_lost_networks_are_made_again_as_they_were(drawn, tmp_path):
    folder = copy_of(drawn, tmp_path)
    shutil.rmtree(folder / "learned")
    assert torch.equal(networks_of(draw_rounds(context_of(folder))), networks_of(drawn[1]))


def test_other_networks_than_those_paid_for_are_refused(drawn, tmp_path):
    folder = copy_of(drawn, tmp_path)
    (path,) = (folder / "learned").iterdir()
    tensors = load_file(path)
    tensors["0.head.bias"] += 1
    save_file(tensors, path)
    with pytest.raises(PrivacyError, match="was paid for as"):
        draw_rounds(context_of(folder))


def test_damaged_networks_are_named(drawn, tmp_path):
    folder = copy_of(drawn, tmp_path)
    (path,) = (folder / "learned").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StudyError, match="is damaged"):
        draw_rounds(context_of(folder))


def test_networks_and_their_set_are_their_owners_alone(drawn):
    (path,) = (drawn[0].folder / "learned").iterdir()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_training_that_diverges_ends_before_the_second_round_is_paid(tmp_path):
    learned = {**LEARNED, "sgd": {"lr": 1e30}, "ages": [4]}
    tables = {
        **TABLES,
        "rounds": [TABLES["rounds"][0], {**TABLES["rounds"][1], "learned": learned}],
    }
    context = context_of(tmp_path, parse_config(tables, where="test"))
    with pytest.raises(StudyError, match="smaller lr"):
        draw_rounds(context)
    assert [access.key for access in context.ledger.accesses] == ["release/0"]


def test_the_audit_examines_both_rounds_without_reading_t():
    findings = audit_config(parse_config(TABLES, where="test"))
    assert all(finding.passed for finding in findings)
    assert {finding.name.split(":")[0] for finding in findings} >= {"budget", "round 0", "round 1"}


def test_an_open_study_learns_from_exact_sums(tmp_path):
    tables = {key: value for key, value in TABLES.items() if key != "privacy"}
    tables |= {
        "evidence": "moments",
        "objectives": {"error": {"discrepancy": "feature-mean"}, "worst_class_error": {}},
        "data": {**tables["data"], "public": []},
    }
    found = draw_rounds(context_of(tmp_path, parse_config(tables, where="test")))
    assert found.rungs == ()
    assert len(networks_of(found))
