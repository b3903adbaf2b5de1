"""Banks of trained networks: early stages of the right training, in turn, fixed by their seed."""

import pytest
import torch
import torch.nn.functional as F

from moc.attacks import Attack, Threat
from moc.bank import Bank
from moc.condense.loop import CondenseSettings, Task, condense
from moc.condense.pretrained import pretrain
from moc.condense.teacher import TeacherSettings
from moc.data.augment import Augmentation
from moc.discrepancies import Adversarial, FeatureMean, Generalization, GradientMatching
from moc.evidence.batches import AttackedBatch
from moc.evidence.ledger import Ledger
from moc.evidence.reference import reference_records
from moc.evidence.samples import Samples
from moc.networks import NetworkSpec

SPECS = (NetworkSpec.parse("convnet2-w8"), NetworkSpec.parse("convnet1-w6"))
THREAT = Threat(eps=0.1)
SETTINGS = TeacherSettings(network=SPECS[0], count=2, steps=60, batch=64)


@pytest.fixture(scope="module")
def ledger(digits):
    ledger = Ledger(None)
    for name, part in zip(("train", "held out"), digits.split([400, 200], seed=0), strict=True):
        ledger.own(name, part)
    return ledger


@pytest.fixture(scope="module")
def samples(ledger):
    attacked = AttackedBatch(attack=Attack(name="pgd-margin", steps=2), threat=THREAT, batch=16)
    return Samples(ledger, bank=bank(ledger), attacked=attacked, batch=64)


def bank(ledger, **changes) -> Bank:
    return Bank(**{"info": ledger.info("train"), "specs": SPECS, "seed": 1, **changes})


def trained(ledger, samples, threat=THREAT, stages=3, **changes):
    return pretrain(
        bank(ledger, **changes), samples, settings=SETTINGS, stages=stages, threat=threat
    )


def loss(member, x, y) -> float:
    return float(F.cross_entropy(member.logits(x), y))


def test_stages_follow_one_another_and_architectures_take_turns(ledger, samples):
    found = trained(ledger, samples)
    x, y = reference_records(ledger, "held out")
    assert len(found) == 6
    for first in (0, 1):
        width = bank(ledger).member(first).dimension
        members = [found.member(first + 2 * stage) for stage in range(3)]
        assert {member.dimension for member in members} == {width}
        losses = [loss(member, x, y) for member in members]
        assert losses[0] > losses[1] > losses[2]
    assert found.member(0).network is found.member(6).network


def test_members_have_bounded_centred_features_and_take_no_gradient(ledger, samples):
    member = trained(ledger, samples, stages=1).member(0)
    x, _ = reference_records(ledger, "held out")
    features = member(x)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(len(x)))
    assert features.mean(0).norm() < 0.2
    assert not member.training
    assert not any(p.requires_grad for p in member.parameters())


def test_adversarial_members_withstand_more_than_plain_ones(ledger, samples):
    x, y = reference_records(ledger, "held out")
    right = []
    for threat in (THREAT, Threat(eps=0.0)):
        member = trained(ledger, samples, threat=threat, stages=1).member(0)
        attack = Attack(name="pgd-margin", steps=10)
        found = attack(member.network, x, y, threat=THREAT, classes=10, seed=0)
        right.append(float((member.logits(found).argmax(1) == y).float().mean()))
    assert right[0] > right[1] + 0.05


def test_a_bank_is_fixed_by_its_seed(ledger, samples):
    state = torch.get_rng_state()
    x = samples.batch(0, 4)[0]
    changes = {"augmentation": Augmentation.dsa(mirrored=False)}
    one, two = (trained(ledger, samples, stages=2, **changes) for _ in range(2))
    other = trained(ledger, samples, stages=2, seed=2, **changes)
    assert torch.equal(state, torch.get_rng_state())
    for k in (0, 3, 9):
        assert torch.equal(one.member(k)(x), two.member(k)(x))
        assert not torch.equal(one.member(k)(x), other.member(k)(x))
    assert not torch.equal(one.member(0)(x), one.member(4)(x)), "the same network, another draw"


@pytest.mark.parametrize("discrepancy", [FeatureMean(), GradientMatching()])
def test_sets_are_condensed_under_trained_networks(ledger, samples, discrepancy):
    under = samples.under(trained(ledger, samples, stages=1))
    assert samples.view(0, (0,)).member is bank(ledger).member(0)
    run = {
        "evidence": under,
        "objectives": (Generalization(discrepancy), Adversarial(discrepancy)),
    }
    start, end = (
        condense(
            [Task(robust_share=1.0)],
            settings=CondenseSettings(per_class=2, steps=steps, lr=lr),
            **run,
        )[0]
        for steps, lr in ((1, 1e-6), (40, 0.03))
    )
    assert end.losses[1] < 0.9 * start.losses[1]
