"""Every discrepancy keeps one contract; each is checked against an oracle of its own."""

import copy
from dataclasses import replace

import pytest
import torch
from discrepancies.views import INFO, NETWORK, bank, records, released, sets, target, view_of
from hypothesis import given
from hypothesis import strategies as st

from moc.data.synthetic import one_hot
from moc.discrepancies.base import DISCREPANCIES
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.matching import Matching
from moc.discrepancies.ridge import RidgeRisk
from moc.discrepancies.teacher import TeacherAgreement
from moc.errors import StudyError
from moc.evidence.base import RECORDS
from moc.networks.bank import encode
from moc.networks.network import Ensembles, build, computing_in
from moc.statistics.base import STATISTICS
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans
from moc.statistics.fourier import Fourier

ALL = [
    *(DISCREPANCIES.make(kind) for kind in sorted(DISCREPANCIES.parts) if kind != "matching"),
    *(
        Matching(statistic=STATISTICS.make(kind))
        for kind in sorted(STATISTICS.parts)
        if kind != ClassCounts().kind  # the same for all images
    ),
]


def label(discrepancy):
    return getattr(discrepancy, "statistic", discrepancy).kind


def statistics_for(discrepancy):
    """What a release has to hold, each with an even weight."""
    kinds = sorted(discrepancy.needs | {"class-counts"})
    own = getattr(discrepancy, "statistic", None)
    parts = [STATISTICS.make(kind) if own is None or own.kind != kind else own for kind in kinds]
    return tuple(part.but(weight=1 / len(parts)) for part in parts)


@pytest.mark.parametrize("discrepancy", ALL, ids=label)
class TestContract:
    def test_one_finite_value_for_each_set(self, discrepancy):
        member = bank().member(0)
        values = discrepancy.value(encode(*sets(4), member), target(member))
        assert values.shape == (4,)
        assert torch.isfinite(values).all()

    def test_gradient_reaches_every_image_of_its_own_set_only(self, discrepancy):
        member = bank().member(0)
        x, labels = sets(3)
        x.requires_grad_(True)
        discrepancy.value(encode(x, labels, member), target(member))[1].backward()
        assert x.grad is not None
        reached = x.grad.flatten(2).abs().sum(2) > 0
        assert reached[1].all()
        assert not reached[0].any()
        assert not reached[2].any()

    def test_sets_together_score_as_alone(self, discrepancy):
        member = bank().member(0)
        x, labels = sets(3)
        t = target(member)
        together = discrepancy.value(encode(x, labels, member), t)
        alone = [
            discrepancy.value(encode(x[b : b + 1], labels[b : b + 1], member), t) for b in range(3)
        ]
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-6)

    def test_order_of_records_does_not_matter(self, discrepancy):
        member = bank().member(0)
        x, labels = sets(2)
        order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(0))
        t = target(member)
        shuffled = discrepancy.value(encode(x[:, order], labels[:, order], member), t)
        torch.testing.assert_close(
            discrepancy.value(encode(x, labels, member), t), shuffled, rtol=1e-4, atol=1e-5
        )

    @pytest.mark.parametrize("width", [None, 16])
    def test_records_and_their_sums_say_the_same(self, discrepancy, width):
        networks = bank(width)
        member = networks.member(0)
        encoded = encode(*sets(3), member)
        if RECORDS in discrepancy.needs:
            with pytest.raises(StudyError, match="holds only sums"):
                discrepancy.value(encoded, released(networks, (ClassMeans(),)))
            return
        sums = released(networks, statistics_for(discrepancy))
        torch.testing.assert_close(
            discrepancy.value(encoded, target(member)),
            discrepancy.value(encoded, sums),
            rtol=1e-3,
            atol=1e-4,
        )

    def test_predictors_have_one_column_a_class(self, discrepancy):
        member = bank(16).member(0)
        heads = discrepancy.predictor(encode(*sets(3), member))
        assert (heads is not None) == discrepancy.has_predictor
        if heads is not None:
            assert heads.shape == (3, member.dimension, 3)


def by_class(member, x, y):
    """Features of each class by itself."""
    features = member(x)
    return [features[y == k] for k in range(3)]


def test_feature_mean_is_zero_where_the_set_is_the_data():
    member = bank().member(0)
    x, labels = sets(1)
    same = view_of(member, x[0], labels[0])
    value = FeatureMean().value(encode(x, labels, member), same)
    assert value.item() == pytest.approx(0.0, abs=1e-10)


@given(shares=st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_feature_mean_asks_nothing_of_the_class_shares(shares):
    """A balanced set of the same images as data of any shares is still the data."""
    member = bank().member(0)
    x, labels = sets(1)
    times = torch.tensor(shares).repeat_interleave(2)
    repeated = view_of(
        member, x[0].repeat_interleave(times, 0), labels[0].repeat_interleave(times, 0)
    )
    value = FeatureMean().value(encode(x, labels, member), repeated)
    assert value.item() == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("discrepancy", [FeatureMean(), Matching(statistic=ClassMeans())])
def test_a_class_that_the_batch_lacks_is_left_out(discrepancy):
    member = bank().member(0)
    x, labels = sets(2)
    encoded = encode(x, labels, member)
    real, y = records()
    lacking = view_of(member, real[y != 2], one_hot(y[y != 2], 3))
    whole = discrepancy.value(encoded, lacking)
    other = replace(encoded, features=encoded.features.clone())
    other.features[labels[:, :, 2] == 1] = 7.0
    torch.testing.assert_close(discrepancy.value(other, lacking), whole)
    assert torch.isfinite(whole).all()


@pytest.mark.parametrize("discrepancy", [FeatureMean(), Matching(statistic=ClassMeans())])
def test_feature_mean_against_the_formula(discrepancy):
    member = bank().member(0)
    x, labels = sets(1)
    real = by_class(member, *records())
    fake = by_class(member, x[0], labels[0].argmax(1))
    gaps = [(a.mean(0) - b.mean(0)).square().sum() for a, b in zip(real, fake, strict=True)]
    value = discrepancy.value(encode(x, labels, member), target(member))
    assert value.item() == pytest.approx(torch.stack(gaps).mean().item(), rel=1e-4)


def test_fourier_features_give_the_maximum_mean_discrepancy_of_a_gaussian_kernel():
    member = bank().member(0)
    x, labels = sets(1, per_class=4)
    real = by_class(member, *records())
    fake = by_class(member, x[0], labels[0].argmax(1))
    h = 0.5

    def kernel(a, b):
        return (-torch.cdist(a, b).square() / (2 * h**2)).exp().mean()

    expected = torch.stack(
        [kernel(a, a) + kernel(b, b) - 2 * kernel(a, b) for a, b in zip(real, fake, strict=True)]
    ).mean()
    matching = Matching(statistic=Fourier(bandwidth=h, frequencies=20_000))
    value = matching.value(encode(x, labels, member), target(member))
    assert value.item() == pytest.approx(expected.item(), rel=0.05)


@pytest.mark.parametrize("ridge", [0.05, 0.5, 2.0])
def test_ridge_risk_against_the_primal_solution(ridge):
    member = bank().member(0)
    x, labels = sets(1, per_class=4)
    encoded = encode(x, labels, member)
    phi, y = encoded.features[0].double(), labels[0].double() - 1 / 3
    primal = torch.linalg.solve(phi.T @ phi + ridge * torch.eye(phi.shape[1]).double(), phi.T @ y)
    real, truth = records()
    gap = member(real).double() @ primal - (one_hot(truth, 3).double() - 1 / 3)
    expected = gap.square().sum(1).mean().item()
    value = RidgeRisk(ridge=ridge).value(encoded, target(member))
    assert value.item() == pytest.approx(expected, rel=1e-3)


@given(shift=st.integers(0, 2))
def test_renaming_the_classes_changes_nothing(shift):
    member = bank().member(0)
    x, labels = sets(1)
    real, y = records()
    other = copy.deepcopy(member)  # with its own head renamed as well
    other.network.head.weight.data = other.network.head.weight.roll(shift, 0)
    other.network.head.bias.data = other.network.head.bias.roll(shift, 0)
    renamed = view_of(other, real, one_hot(y, 3).roll(shift, 1))
    for discrepancy in ALL:
        a = discrepancy.value(encode(x, labels, member), target(member))
        b = discrepancy.value(encode(x, labels.roll(shift, 2), other), renamed)
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(StudyError, match="ridge-risk"):
        DISCREPANCIES.make("wasserstein")


def test_teacher_agreement_asks_the_teacher_of_the_own_rung():
    member = bank().member(0)
    x, labels = sets(3)
    teachers = [build(NETWORK, INFO, seed=s) for s in (1, 2)]
    loss = TeacherAgreement(Ensembles([[teachers[0]], [teachers[1]]]))
    values = loss(encode(x, labels, member), target(member, rungs=(1, 0, 1)))
    for b, rung in enumerate((1, 0, 1)):
        p = teachers[rung](x[b]).softmax(-1)
        expected = (labels[b] - p).square().sum(1).mean()
        assert values[b].item() == pytest.approx(expected.item(), rel=1e-4)


def test_teachers_are_averaged_and_labels_that_agree_cost_nothing():
    member = bank().member(0)
    x, _ = sets(1)
    teachers = [build(NETWORK, INFO, seed=s) for s in (1, 2)]
    agreed = torch.stack([t(x[0]).softmax(-1) for t in teachers]).mean(0)[None].detach()
    value = TeacherAgreement(Ensembles([teachers]))(encode(x, agreed, member), target(member))
    assert value.item() == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("discrepancy", ALL, ids=label)
def test_layers_in_bfloat16_say_nearly_the_same(discrepancy):
    member, (x, labels) = bank().member(0), sets(2)
    view = target(member)
    gradients = []
    for compute in ("float32", "bfloat16"):
        records = x.clone().requires_grad_()
        with computing_in(compute):
            values = discrepancy.value(encode(records, labels, member), view)
            values.sum().backward()
        assert values.dtype == torch.float32
        gradients.append(records.grad)
    cosine = torch.nn.functional.cosine_similarity(*(one.flatten(1) for one in gradients))
    assert cosine.min() > 0.95
