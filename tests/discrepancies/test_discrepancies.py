"""Every discrepancy keeps one contract; each is checked against an oracle of its own."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.networks.bank import Bank
from moc.data.vault import DataInfo
from moc.data.synthetic import balanced_labels, one_hot
from moc.discrepancies import (
    DISCREPANCIES,
    FeatureMean,
    PrivacyBudget,
    RidgeRisk,
    TeacherAgreement,
    encode,
    make_discrepancy,
)
from moc.errors import StudyError
from moc.evidence.views import FeatureTarget, MomentTarget
from moc.networks import Ensembles, NetworkSpec, build

INFO = DataInfo(name="toy", shape=(1, 8, 8), classes=("a", "b", "c"), count=60)
SPEC = NetworkSpec.parse("convnet2-w8")
NAMES = sorted(DISCREPANCIES)


def bank(width=None) -> Bank:
    return Bank(info=INFO, specs=(SPEC,), seed=1, width=width)


def sets(count, seed=0, per_class=2):
    generator = torch.Generator().manual_seed(seed)
    y = balanced_labels(per_class, 3)
    x = torch.rand(count, len(y), 1, 8, 8, generator=generator)
    return x, one_hot(y, 3).repeat(count, 1, 1)


def target(member, seed=9, n=30) -> FeatureTarget:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 8, 8, generator=generator)
    y = torch.randint(3, (n,), generator=generator)
    return FeatureTarget(
        member=member, features=member(x)[None], labels=one_hot(y, 3), records=x[None]
    )


def moments(features: FeatureTarget) -> MomentTarget:
    psi = features.member.compact(features.features)
    return MomentTarget(
        member=features.member,
        sums=features.class_sums(),
        second=psi.transpose(1, 2) @ psi / psi.shape[1],
        shares=features.class_shares(),
    )


@pytest.mark.parametrize("name", NAMES)
class TestContract:
    def test_one_finite_value_for_each_set(self, name):
        member = bank().member(0)
        values = make_discrepancy(name)(encode(*sets(4), member), target(member))
        assert values.shape == (4,)
        assert torch.isfinite(values).all()

    def test_gradient_reaches_every_image_of_its_own_set_only(self, name):
        member = bank().member(0)
        x, labels = sets(3)
        x.requires_grad_(True)
        make_discrepancy(name)(encode(x, labels, member), target(member))[1].backward()
        assert x.grad is not None
        reached = x.grad.flatten(2).abs().sum(2) > 0
        assert reached[1].all()
        assert not reached[0].any()
        assert not reached[2].any()

    def test_sets_together_score_as_alone(self, name):
        member = bank().member(0)
        x, labels = sets(3)
        discrepancy, t = make_discrepancy(name), target(member)
        together = discrepancy(encode(x, labels, member), t)
        alone = [discrepancy(encode(x[b : b + 1], labels[b : b + 1], member), t) for b in range(3)]
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-6)

    def test_order_of_records_does_not_matter(self, name):
        member = bank().member(0)
        x, labels = sets(2)
        order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(0))
        discrepancy, t = make_discrepancy(name), target(member)
        shuffled = discrepancy(encode(x[:, order], labels[:, order], member), t)
        torch.testing.assert_close(
            discrepancy(encode(x, labels, member), t), shuffled, rtol=1e-4, atol=1e-5
        )

    @pytest.mark.parametrize("width", [None, 16])
    def test_samples_and_their_moments_say_the_same(self, name, width):
        member = bank(width).member(0)
        discrepancy, samples = make_discrepancy(name), target(bank(width).member(0))
        encoded = encode(*sets(3), member)
        if discrepancy.needs_records:
            with pytest.raises(StudyError, match="only moments"):
                discrepancy(encoded, moments(samples))
            return
        torch.testing.assert_close(
            discrepancy(encoded, samples),
            discrepancy(encoded, moments(samples)),
            rtol=1e-3,
            atol=1e-4,
        )

    def test_heads_have_one_column_a_class(self, name):
        member = bank(16).member(0)
        heads = make_discrepancy(name).predictor(encode(*sets(3), member))
        if heads is None:
            assert make_discrepancy(name).needs_records, "the network itself can be attacked only"
        else:
            assert heads.shape == (3, member.dimension, 3)


def test_feature_mean_is_zero_where_the_set_is_the_data():
    member = bank().member(0)
    x, labels = sets(1)
    encoded = encode(x, labels, member)
    same = FeatureTarget(member=member, features=encoded.features, labels=labels[0])
    assert FeatureMean()(encoded, same).item() == pytest.approx(0.0, abs=1e-10)


@given(shares=st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_feature_mean_asks_nothing_of_the_class_shares(shares):
    """A balanced set of the same images as data of any shares is still the data."""
    member = bank().member(0)
    x, labels = sets(1)
    encoded = encode(x, labels, member)
    times = torch.tensor(shares).repeat_interleave(2)
    repeated = FeatureTarget(
        member=member,
        features=encoded.features.repeat_interleave(times, dim=1),
        labels=labels[0].repeat_interleave(times, dim=0),
    )
    discrepancy = FeatureMean()
    assert discrepancy(encoded, repeated).item() == pytest.approx(0.0, abs=1e-8)
    assert discrepancy(encoded, moments(repeated)).item() == pytest.approx(0.0, abs=1e-8)


def test_feature_mean_leaves_out_a_class_that_the_batch_lacks():
    member = bank().member(0)
    x, labels = sets(2)
    encoded, t = encode(x, labels, member), target(member)
    kept = t.labels[:, 2] == 0
    lacking = replace(t, features=t.features[:, kept], labels=t.labels[kept])
    whole = FeatureMean()(encoded, lacking)
    other = replace(encoded, features=encoded.features.clone())
    other.features[labels[:, :, 2] == 1] = 7.0
    torch.testing.assert_close(FeatureMean()(other, lacking), whole)
    assert torch.isfinite(whole).all()


def test_feature_mean_against_the_formula():
    member = bank().member(0)
    x, labels = sets(1)
    t, encoded = target(member), encode(x, labels, member)
    expected = 0.0
    for k in range(3):
        real = t.features[0][t.labels[:, k] == 1].mean(0)
        fake = encoded.features[0][labels[0][:, k] == 1].mean(0)
        expected += (real - fake).square().sum().item() / 3
    assert FeatureMean()(encoded, t).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("ridge", [0.05, 0.5, 2.0])
def test_ridge_risk_against_the_primal_solution(ridge):
    member = bank().member(0)
    x, labels = sets(1, per_class=4)
    t, encoded = target(member), encode(x, labels, member)
    phi, y = encoded.features[0].double(), labels[0].double() - 1 / 3
    primal = torch.linalg.solve(phi.T @ phi + ridge * torch.eye(phi.shape[1]).double(), phi.T @ y)
    gap = t.features[0].double() @ primal - (t.labels.double() - 1 / 3)
    expected = gap.square().sum(1).mean().item()
    assert RidgeRisk(ridge)(encoded, t).item() == pytest.approx(expected, rel=1e-3)


@given(shift=st.integers(0, 2))
def test_renaming_the_classes_changes_nothing(shift):
    member = bank().member(0)
    x, labels = sets(1)
    t = target(member)
    other = copy.deepcopy(member)  # with its own head renamed as well
    other.network.head.weight.data = other.network.head.weight.roll(shift, 0)
    other.network.head.bias.data = other.network.head.bias.roll(shift, 0)
    renamed = replace(t, member=other, labels=t.labels.roll(shift, 1))
    for name in NAMES:
        d = make_discrepancy(name)
        a = d(encode(x, labels, member), t)
        b = d(encode(x, labels.roll(shift, 2), other), renamed)
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(StudyError, match="ridge-risk"):
        make_discrepancy("wasserstein")


class _View:
    def __init__(self, member, rungs):
        self.member, self.rungs = member, rungs


def test_the_budget_charges_each_set_for_its_rung_and_has_no_gradient():
    member = bank().member(0)
    x, labels = sets(3)
    x.requires_grad_(True)
    values = PrivacyBudget((0.6, 3.8), delta=1e-5)(
        encode(x, labels, member), _View(member, (1, 0, 1))
    )
    assert values[0] == values[2] < values[1]
    assert values[1].item() == pytest.approx(8.0, rel=0.01)
    assert not values.requires_grad


def test_an_open_study_costs_infinity():
    member = bank().member(0)
    values = PrivacyBudget((), delta=1e-5)(encode(*sets(2), member), _View(member, (0, 0)))
    assert torch.isinf(values).all()


def test_teacher_agreement_asks_the_teacher_of_the_own_rung():
    member = bank().member(0)
    x, labels = sets(3)
    teachers = [build(SPEC, INFO, seed=s) for s in (1, 2)]
    objective = TeacherAgreement(Ensembles([[teachers[0]], [teachers[1]]]))
    values = objective(encode(x, labels, member), _View(member, (1, 0, 1)))
    for b, rung in enumerate((1, 0, 1)):
        p = teachers[rung](x[b]).softmax(-1)
        expected = (labels[b] - p).square().sum(1).mean()
        assert values[b].item() == pytest.approx(expected.item(), rel=1e-4)


def test_teachers_are_averaged_and_labels_that_agree_cost_nothing():
    member = bank().member(0)
    x, _ = sets(1)
    teachers = [build(SPEC, INFO, seed=s) for s in (1, 2)]
    agreed = torch.stack([t(x[0]).softmax(-1) for t in teachers]).mean(0)[None].detach()
    value = TeacherAgreement(Ensembles([teachers]))(encode(x, agreed, member), _View(member, (0,)))
    assert value.item() == pytest.approx(0.0, abs=1e-10)
