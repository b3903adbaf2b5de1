"""Objectives as study files name them: what is built, and that a set can be condensed by it."""

import pytest
import torch

from moc.bank import Bank
from moc.condense import PretrainedBank, Proxies, Task, condense
from moc.discrepancies import Adversarial, CurvatureRisk, GradientMatching, TeacherAgreement
from moc.study.config import parse_config
from moc.study.reporter import Silent
from moc.study.setup import prepare

TINY = {
    "name": "tiny",
    "data": {"source": "digits", "train": 300, "validation": 20, "test": 20},
    "bank": {"networks": ["convnet2-w8"], "count": 2, "stages": 2, "steps": 4},
    "condense": {"per_class": 1, "steps": 2},
    "objectives": {"batch": 32, "attacked": 8, "attack_steps": 1},
    "teacher": {"network": "convnet2-w8", "steps": 2, "batch": 16},
}


def made(tmp_path, bank=(), **objectives):
    tables = {
        **TINY,
        "bank": {**TINY["bank"], **dict(bank)},
        "objectives": {**TINY["objectives"], **objectives},
    }
    return prepare(parse_config(tables, where="test"), tmp_path, Silent())


@pytest.mark.parametrize(
    ("generalization", "adversarial", "kind"),
    [
        ("ridge-risk", "attack", Adversarial),
        ("feature-mean", "attack", Adversarial),
        ("gradient-matching", "attack", Adversarial),
        ("gradient-matching", "teacher", TeacherAgreement),
        ("ridge-risk", "curvature", CurvatureRisk),
        ("feature-mean", "curvature", CurvatureRisk),
    ],
)
@pytest.mark.parametrize("pretrained", ["none", "adversarial"])
def test_every_objective_of_an_open_study_condenses(
    tmp_path, generalization, adversarial, kind, pretrained
):
    materials = made(
        tmp_path,
        bank={"pretrained": pretrained},
        generalization=generalization,
        adversarial=adversarial,
    )
    assert isinstance(materials.objectives[1], kind)
    assert type(materials.evidence.bank) is (Bank if pretrained == "none" else PretrainedBank)
    found = condense(
        [Task(robust_share=0.0), Task(robust_share=1.0)],
        evidence=materials.evidence,
        objectives=materials.objectives,
        settings=materials.settings,
    )
    assert torch.isfinite(torch.tensor([one.losses[:2] for one in found])).all()
    assert not torch.equal(found[0].synthetic.x, found[1].synthetic.x)


PROXY = {"epsilons": [8.0, 1.0], "networks": 2, "evidence": "proxy"}


@pytest.mark.parametrize(
    ("generalization", "adversarial", "targets", "training", "kind"),
    [
        ("ridge-risk", "attack", "labels", 0.0, Adversarial),
        ("feature-mean", "attack", "teacher", 0.0, Adversarial),
        ("gradient-matching", "attack", "teacher", 0.4, Adversarial),
        ("gradient-matching", "teacher", "labels", 0.0, TeacherAgreement),
        ("ridge-risk", "teacher", "labels", 0.4, TeacherAgreement),
        ("ridge-risk", "curvature", "labels", 0.0, CurvatureRisk),
    ],
)
def test_every_objective_reads_the_proxies_of_a_private_study(
    tmp_path, generalization, adversarial, targets, training, kind
):
    tables = {
        **TINY,
        "privacy": {**PROXY, "training": training},
        "objectives": {
            **TINY["objectives"],
            "generalization": generalization,
            "adversarial": adversarial,
            "targets": targets,
        },
        "teacher": {
            **TINY["teacher"],
            "source": "dp-training" if training else "proxy",
            "proxy_per_class": 3,
            "proxy_steps": 2,
        },
        "condense": {"per_class": 1, "steps": 2, "pool": 1},
    }
    materials = prepare(parse_config(tables, where="test"), tmp_path, Silent())
    assert isinstance(materials.objectives[1], kind)
    assert isinstance(materials.evidence, Proxies)
    assert materials.evidence.epsilons == (8.0, 1.0)
    again = prepare(parse_config(tables, where="test"), tmp_path, Silent())
    tasks = [Task(robust_share=share, rung=rung) for rung in (0, 1) for share in (0.0, 1.0)]

    def made_of(materials, tasks):
        return condense(
            tasks,
            evidence=materials.evidence,
            objectives=materials.objectives,
            settings=materials.settings,
        )

    found = made_of(materials, tasks)
    assert torch.isfinite(torch.tensor([one.losses[:2] for one in found])).all()
    assert len({one.synthetic.x.sum().item() for one in found}) == 4
    (same,) = made_of(again, tasks[3:])
    torch.testing.assert_close(found[3].synthetic.x, same.synthetic.x, atol=1e-3, rtol=0)


def test_a_proxy_is_looked_at_through_networks_of_its_own(tmp_path):
    def bank(folder, **bank):
        tables = {
            **TINY,
            "privacy": {**PROXY, "second": 0.0},
            "bank": {**TINY["bank"], "augmentation": True, **bank},
            "objectives": {**TINY["objectives"], "adversarial": "attack"},
            "teacher": {**TINY["teacher"], "proxy_per_class": 3, "proxy_steps": 2},
        }
        config = parse_config(tables, where="test")
        return prepare(config, tmp_path / folder, Silent()).evidence.bank

    other = bank("a", views=["mlp2-w16", "convnet1-w8"])
    assert [spec.name for spec in other.specs] == ["mlp2-w16", "convnet1-w8"]
    same = bank("b")
    assert [spec.name for spec in same.specs] == ["convnet2-w8"]
    assert same.seed == other.seed != 0
    assert same.augmentation is None


def test_a_study_taken_up_again_reads_its_proxies_back_but_never_those_of_another_release(
    tmp_path, monkeypatch
):
    import moc.study.evidence as study

    tables = {
        **TINY,
        "privacy": PROXY,
        "objectives": {**TINY["objectives"], "adversarial": "attack"},
        "teacher": {**TINY["teacher"], "proxy_per_class": 3, "proxy_steps": 2},
    }
    made, make = [], study.make_proxies
    monkeypatch.setattr(study, "make_proxies", lambda *a, **k: made.append(1) or make(*a, **k))

    def proxies(**teacher):
        changed = {**tables, "teacher": {**tables["teacher"], **teacher}}
        seen = prepare(parse_config(changed, where="test"), tmp_path, Silent()).evidence
        return [proxy.x for proxy in seen.proxies]

    first = proxies()
    assert all(torch.equal(a, b) for a, b in zip(first, proxies(), strict=True))
    assert len(made) == 1
    (tmp_path / "privacy.jsonl").unlink()
    (tmp_path / "release").rename(tmp_path / "old")
    other = proxies()
    assert len(made) == 2
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert len(proxies(proxy_per_class=4)[0]) == 40
    assert len(made) == 3


def test_the_options_of_a_study_file_reach_the_objectives(tmp_path):
    curvature = made(tmp_path / "a", adversarial="curvature", curvature=3.0).objectives[1]
    assert (curvature.weight, curvature.records, curvature.threat.eps) == (3.0, 8, 0.1)
    materials = made(tmp_path / "b", generalization="gradient-matching", adversarial="attack")
    assert all(isinstance(o.discrepancy, GradientMatching) for o in materials.objectives[:2])


@pytest.mark.parametrize(("pretrained", "eps"), [("plain", 0.0), ("adversarial", 0.1)])
def test_a_bank_is_trained_against_the_threat_or_none(tmp_path, monkeypatch, pretrained, eps):
    import moc.study.evidence as study

    seen = []

    def spy(bank, source, *, settings, stages, threat, progress):
        seen.append((settings.count, settings.steps, stages, threat.eps))
        return bank

    monkeypatch.setattr(study, "pretrain", spy)
    made(tmp_path, bank={"pretrained": pretrained}, adversarial="attack")
    assert seen == [(2, 4, 2, eps)]


def test_a_teacher_sets_the_targets_of_attacked_records_alone(tmp_path):
    plain = made(tmp_path / "plain", generalization="ridge-risk", adversarial="attack")
    taught = made(
        tmp_path / "taught", generalization="ridge-risk", adversarial="attack", targets="teacher"
    )
    views = [materials.evidence.view(0, [0]) for materials in (plain, taught)]
    heads = torch.zeros(1, views[0].member.dimension, 10)
    one_hot, soft = (view.attacked(heads).labels for view in views)
    assert ((one_hot == 0) | (one_hot == 1)).all()
    assert not ((soft == 0) | (soft == 1)).any()
    torch.testing.assert_close(soft.sum(-1), torch.ones(1, 8))
    assert torch.equal(views[0].clean().labels, views[1].clean().labels)
