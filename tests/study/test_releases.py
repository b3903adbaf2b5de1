"""Private studies of two rounds: what they release, what it costs, and how it is audited."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from moc.attacks import Attack
from moc.errors import PrivacyError, StudyError
from moc.evidence.accountant import Gaussian, epsilon
from moc.evidence.audit import stand_in
from moc.evidence.heads import HeadsAttack
from moc.study import audit as audit_module
from moc.study.audit import audit_config
from moc.study.config import StudyConfig, parse_config
from moc.study.releases import attack_under_heads, ladder_of, rounds_of, statistics_of
from moc.study.run import run_study
from moc.study.setup import declared_info

TINY = {
    "name": "tiny",
    "workers": 1,
    "data": {"source": "digits", "train": 300, "validation": 60, "test": 60},
    "privacy": {"epsilons": [8.0, 2.0], "networks": 3},
    "bank": {"networks": ["convnet2-w8"]},
    "objectives": {"adversarial": "release", "attack_steps": 2},
    "condense": {"per_class": 2, "steps": 4},
    "evaluate": {"replicates": 1, "report_replicates": 1},
    "search": {"trials": 4, "batch": 2},
}


def config_of(**privacy) -> StudyConfig:
    return parse_config({**TINY, "privacy": {**TINY["privacy"], **privacy}}, where="test")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-rounds") / "tiny"
    return run_study(config_of(attacked=0.3), folder), folder


def test_a_study_of_two_rounds_runs_and_reports_what_both_cost(finished):
    study, folder = finished
    events = [json.loads(line) for line in (folder / "privacy.jsonl").read_text().splitlines()]
    ladders = {e["key"]: e["ladder"] for e in events if e.get("kind") == "gaussian"}
    assert list(ladders) == ["release/clean", "release/attacked"]
    assert study.complete
    for trial in study.trials:
        rung = (8.0, 2.0).index(trial.rung)
        pair = [Gaussian(noise_multiplier=ladder[rung]) for ladder in ladders.values()]
        assert trial.scores.epsilon == pytest.approx(epsilon(pair, delta=1e-5), abs=1e-3)
        assert trial.rung * 0.99 < trial.scores.epsilon <= trial.rung
    assert study.epsilon <= 8.0
    assert any("attacked records (pgd-margin-2, Linf at most" in w for w in study.privacy)


def test_without_reference_records_attacks_transfer_from_networks_of_its_own_sets(finished):
    study, _ = finished
    best = study.trial(study.front[0]).name
    assert study.masking
    for checks in study.masking:
        assert f"both on {best}, as no real records may be shown" in checks.transfer


def test_the_rounds_are_stored_apart(finished):
    _, folder = finished
    clean, attacked = (
        sorted((folder / name).iterdir()) for name in ("release", "release-attacked")
    )
    assert [path.name for path in clean] == [path.name for path in attacked]
    assert all(a.read_bytes() != b.read_bytes() for a, b in zip(clean, attacked, strict=True))


@pytest.mark.parametrize("scoring", [0.0, 0.3])
@pytest.mark.parametrize("attacked", [0.1, 0.5, 0.9])
def test_the_rounds_share_what_scoring_leaves(scoring, attacked):
    config = config_of(scoring=scoring, attacked=attacked)
    rounds = rounds_of(config)
    assert rounds["release/clean"].share == pytest.approx((1 - scoring) * (1 - attacked))
    assert rounds["release/attacked"].share == pytest.approx((1 - scoring) * attacked)
    together = sum(ladder.share for ladder in rounds.values())
    assert together == pytest.approx(ladder_of(config).share, rel=1e-12)


def test_other_private_studies_have_one_round_with_all_of_it():
    tables = {**TINY, "objectives": {"adversarial": "teacher"}}
    config = parse_config(tables, where="test")
    assert rounds_of(config) == {"release/clean": ladder_of(config)}
    with pytest.raises(StudyError, match=r"only adversarial = 'release' draws, found 'teacher'"):
        parse_config({**tables, "privacy": {**TINY["privacy"], "attacked": 0.5}}, where="test")


def test_the_rounds_share_alike_if_nothing_is_said():
    shares = [ladder.share for ladder in rounds_of(config_of()).values()]
    assert shares == [0.5, 0.5]


def test_both_rounds_are_audited_each_against_its_own_share():
    config = config_of(attacked=0.3)
    reports = audit_config(config)
    assert all(report.passed for report in reports)
    rungs = ["rung epsilon 8", "rung epsilon 2", "all rungs together"]
    titles = ["3 networks of the study", "handling of the release", *rungs]
    assert [r.name for r in reports] == [f"{key}: {t}" for key in rounds_of(config) for t in titles]
    claims = [getattr(report, "claimed_mu", None) for report in reports]
    for start, ladder in zip((2, 7), rounds_of(config).values(), strict=True):
        assert claims[start : start + 2] == pytest.approx([1 / s for s in ladder.multipliers()])


def test_an_attack_that_couples_records_fails_the_audit_of_its_round(monkeypatch):
    """The study's attack takes part in the audit: a coupled one in its place is found."""

    def coupled(config, statistics, clean) -> HeadsAttack:
        attack = attack_under_heads(config, statistics, clean)
        attack._attack = Attack(name="pgd-margin", steps=2, random_start=True)
        return attack

    monkeypatch.setattr(audit_module, "attack_under_heads", coupled)
    first, *_, failed = [r for r in audit_config(config_of()) if "networks of" in r.name]
    assert first.passed
    assert not failed.passed


def test_round_two_refuses_the_heads_of_another_ladder():
    config = config_of()
    statistics = statistics_of(config, declared_info(config))
    clean = stand_in(statistics, rounds_of(config)["release/clean"], "standard")
    assert attack_under_heads(config, statistics, clean).heads.shape == (3, 32, 10)
    wrong = [replace(clean[0], epsilon=4.0), clean[1]]
    with pytest.raises(PrivacyError, match="smallest rung"):
        attack_under_heads(config, statistics, wrong)


def test_an_open_study_refuses_a_release_in_words():
    tables = {key: value for key, value in TINY.items() if key != "privacy"}
    with pytest.raises(StudyError, match="reads a private release of attacked records"):
        parse_config(tables, where="test")


@pytest.mark.parametrize("attacked", [0.0, 1.0, -0.5])
def test_each_round_needs_a_share(attacked):
    with pytest.raises(StudyError, match=r"privacy\.attacked"):
        config_of(attacked=attacked)
