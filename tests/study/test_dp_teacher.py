"""Private studies whose teacher is trained on T by DP-SGD: what it costs, and who pays."""

from __future__ import annotations

import json
import math

import pytest
from opacus.accountants import PRVAccountant

from moc.discrepancies import TeacherAgreement
from moc.errors import StudyError
from moc.evidence.accountant import epsilon, exact_noise_multiplier
from moc.export import export_set
from moc.study.config import parse_config
from moc.study.releases import ladder_of, rounds_of, training_of
from moc.study.reporter import Silent
from moc.study.run import run_study
from moc.study.setup import prepare

TINY = {
    "name": "tiny",
    "workers": 1,
    "data": {"source": "digits", "train": 300, "validation": 60, "test": 60},
    "privacy": {"epsilons": [8.0, 2.0], "networks": 3, "training": 0.4},
    "bank": {"networks": ["convnet2-w8"]},
    "objectives": {"attack_steps": 2},
    "teacher": {"source": "dp-training", "network": "convnet2-w8", "steps": 5, "batch": 60},
    "condense": {"per_class": 2, "steps": 4},
    "evaluate": {"replicates": 1, "report_replicates": 1},
    "search": {"trials": 2, "batch": 2},
}


def config_of(**tables):
    merged = {k: {**TINY[k], **v} if isinstance(v, dict) else v for k, v in tables.items()}
    return parse_config({**TINY, **merged}, where="test")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dp-teacher") / "tiny"
    return run_study(config_of(), folder), folder


def test_composing_the_events_by_hand_gives_the_reported_totals(finished):
    study, folder = finished
    events = [json.loads(line) for line in (folder / "privacy.jsonl").read_text().splitlines()]
    paid = {e["key"]: e for e in events if e.get("kind") in ("gaussian", "sampled")}
    assert list(paid) == ["release/clean", "training/0"]
    release, training = paid.values()
    assert (training["count"], training["sample_rate"]) == (5, 0.2)
    assert study.complete
    for rung, nominal in enumerate((8.0, 2.0)):
        prv = PRVAccountant()
        prv.history = [
            (release["ladder"][rung], 1.0, 1),
            (training["ladder"][0], training["sample_rate"], training["count"]),
        ]
        by_hand = prv.get_epsilon(1e-5, eps_error=1e-3)
        charged = [t.scores.epsilon for t in study.trials if t.rung == nominal]
        assert charged
        assert all(cost == pytest.approx(by_hand, abs=1e-3) for cost in charged)
        assert all(nominal * 0.995 < cost <= nominal for cost in charged)
    assert study.epsilon == max(t.scores.epsilon for t in study.trials) <= 8.0


def test_the_ledger_and_the_card_tell_of_it(finished, tmp_path):
    study, _ = finished
    (line,) = (line for line in study.privacy if line.startswith("training/0"))
    for words in ("DP-SGD of convnet2-w8", "pgd-ce-2 within Linf 0.1", "5 step(s)", "rate 0.2"):
        assert words in line
    export_set(study, study.front[0], tmp_path / "set")
    assert line in (tmp_path / "set" / "README.md").read_text()
    assert line in json.loads((tmp_path / "set" / "card.json").read_text())["privacy"]["accesses"]


def test_taken_up_again_it_reads_back_the_same_teacher(finished):
    _, folder = finished
    stored = (folder / "teacher" / "0" / "network.safetensors").read_bytes()
    spent = (folder / "privacy.jsonl").read_bytes()
    materials = prepare(config_of(), folder, Silent())
    assert (folder / "teacher" / "0" / "network.safetensors").read_bytes() == stored
    assert (folder / "privacy.jsonl").read_bytes() == spent
    agreement = materials.objectives[1]
    assert isinstance(agreement, TeacherAgreement)
    assert len(agreement.teachers.groups) == 1, "one teacher for all rungs"


def test_the_training_costs_its_share_of_the_smallest_rung():
    training = training_of(config_of())
    assert training is not None
    alone = epsilon([training.mechanism(300)], delta=1e-5)
    share = exact_noise_multiplier(2.0, delta=1e-5) / exact_noise_multiplier(alone, delta=1e-5)
    assert share**2 == pytest.approx(0.4, rel=0.01)


@pytest.mark.parametrize("scoring", [0.0, 0.25])
def test_releases_and_scores_share_what_training_leaves(scoring):
    config = config_of(privacy={"scoring": scoring})
    ladder = ladder_of(config)
    assert rounds_of(config) == {"release/clean": ladder}
    training = training_of(config)
    assert training is not None
    assert ladder.beside == (training.mechanism(300),)
    plain = ladder_of(
        config_of(privacy={"training": 0.0, "scoring": scoring}, teacher={"source": "proxy"})
    )
    for noise, less, target in zip(
        ladder.multipliers(), plain.multipliers(), (8.0, 2.0), strict=True
    ):
        assert noise > less
        whole = noise * math.sqrt(1 - scoring)
        cost = epsilon([*ladder.beside, type(ladder.beside[0])(noise_multiplier=whole)], delta=1e-5)
        assert target * 0.995 < cost <= target


def test_a_teacher_may_be_trained_on_records_as_they_are():
    training = training_of(config_of(teacher={"adversarial": False, "dp_lr": 0.5, "clip": 2.0}))
    assert training is not None
    assert training.attack is None
    assert (training.lr, training.clip) == (0.5, 2.0)
    assert "attacked" not in training.access(0, 300).words()


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"teacher": {"batch": 301}}, "Poisson samples of 301 of 300 records"),
        (
            {"objectives": {"adversarial": "release"}},
            "targets = 'teacher' listen to",
        ),
        ({"teacher": {"source": "proxy"}}, "only source = 'dp-training'"),
        ({"privacy": {"training": 0.0}}, "nothing pays for it"),
    ],
)
def test_what_cannot_work_is_refused_in_words(tables, words):
    with pytest.raises(StudyError, match=words):
        config_of(**tables)
