"""Discrepancies that compare pairs of records, against their formulas and limits."""

from __future__ import annotations

import pytest
import torch
from discrepancies.views import bank, records, sets, target, view_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from moc.data.synthetic import one_hot
from moc.discrepancies._clouds import clouds, squared_distances
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.kernel_mmd import KernelMmd
from moc.discrepancies.sinkhorn import Sinkhorn
from moc.networks.bank import encode

PAIRS = [KernelMmd(), KernelMmd(kernel="linear"), Sinkhorn(), Sinkhorn(epsilon=0.02)]


def named(one):
    return f"{one.kind}-{getattr(one, 'kernel', '') or one.epsilon}"


def by_class(member, x, y):
    features = member(x).double()
    return [features[y == k] for k in range(3)]


@pytest.mark.parametrize("discrepancy", PAIRS, ids=named)
class TestPairs:
    def test_it_is_zero_where_the_set_is_the_data(self, discrepancy):
        member = bank().member(0)
        x, labels = sets(1)
        value = discrepancy.value(encode(x, labels, member), view_of(member, x[0], labels[0]))
        assert value.item() == pytest.approx(0.0, abs=1e-5)

    @given(seed=st.integers(0, 99))
    def test_it_is_positive_elsewhere(self, discrepancy, seed):
        member = bank().member(0)
        assert discrepancy.value(encode(*sets(1, seed), member), target(member)).item() > 0

    def test_it_is_the_same_from_both_sides(self, discrepancy):
        member = bank().member(0)
        (x, labels), (z, same) = sets(1, 1, per_class=4), sets(1, 2, per_class=4)
        there = discrepancy.value(encode(x, labels, member), view_of(member, z[0], same[0]))
        back = discrepancy.value(encode(z, same, member), view_of(member, x[0], labels[0]))
        # The bandwidth of a mixture of Gaussians is that of T.
        near = 0.3 if discrepancy == KernelMmd() else 1e-3
        assert there.item() == pytest.approx(back.item(), rel=near)

    def test_a_class_that_the_batch_lacks_is_left_out(self, discrepancy):
        member = bank().member(0)
        x, labels = sets(2)
        x.requires_grad_(True)
        real, y = records()
        lacking = view_of(member, real[y != 2], one_hot(y[y != 2], 3))
        values = discrepancy.value(encode(x, labels, member), lacking)
        values.sum().backward()
        assert torch.isfinite(values).all()
        assert torch.isfinite(x.grad).all()
        assert not x.grad[labels[:, :, 2] == 1].any()
        assert x.grad[labels[:, :, 2] == 0].any()

    def test_gradient_against_finite_differences(self, discrepancy):
        discrepancy = discrepancy.but(iterations=500) if "sink" in discrepancy.kind else discrepancy
        member = bank().member(0)
        x, labels = sets(1)
        encoded, t = encode(x, labels, member), target(member)

        def value(features):
            other = type(encoded)(
                member=member, records=x, features=features.float(), labels=labels
            )
            return discrepancy.value(other, t)

        features = encoded.features.detach().clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(value(features).sum(), features)
        step = 1e-2 * slope / slope.norm()
        with torch.no_grad():
            rise = value(features + step) - value(features - step)
        assert rise.item() == pytest.approx(2e-2 * slope.norm().item(), rel=0.02)

    def test_soft_labels_near_hard_ones_are_near(self, discrepancy):
        member = bank().member(0)
        x, labels = sets(1)
        soft = (labels + 1e-4) / (labels + 1e-4).sum(-1, keepdim=True)
        t = target(member)
        hard = discrepancy.value(encode(x, labels, member), t)
        near = discrepancy.value(encode(x, soft, member), t)
        assert near.item() == pytest.approx(hard.item(), rel=0.02)


def test_a_linear_kernel_is_distribution_matching():
    member = bank().member(0)
    encoded, t = encode(*sets(3), member), target(member)
    found = KernelMmd(kernel="linear").value(encoded, t)
    torch.testing.assert_close(found, FeatureMean().value(encoded, t), rtol=1e-4, atol=1e-6)


def test_the_mixture_of_gaussians_against_the_formula():
    member = bank().member(0)
    x, labels = sets(1, per_class=4)
    found = []
    real, fake = by_class(member, *records()), by_class(member, x[0], labels[0].argmax(1))
    for a, b in zip(real, fake, strict=True):
        apart = torch.cdist(a, a).square()
        width = apart.sum() / (len(a) ** 2 - len(a))

        def kernel(p, q, width=width):
            d = torch.cdist(p, q).square()
            return sum((-d / (2.0**power * width)).exp() for power in range(-2, 3)).mean()

        found.append(kernel(a, a) + kernel(b, b) - 2 * kernel(a, b))
    value = KernelMmd().value(encode(x, labels, member), target(member))
    assert value.item() == pytest.approx(torch.stack(found).mean().item(), rel=1e-3)


def exact_transport(x, y, epsilon):
    """OT_ε of evenly weighted points, by many plain Sinkhorn updates in float64."""
    cost = torch.cdist(x, y).square().numpy() / 2
    n, m = cost.shape
    f, g = torch.zeros(n).double().numpy(), torch.zeros(m).double().numpy()
    for _ in range(3000):
        before, f = f, -epsilon * logsumexp((g[None] - cost) / epsilon, b=1 / m, axis=1)
        g = -epsilon * logsumexp((f[:, None] - cost) / epsilon, b=1 / n, axis=0)
        if abs(f - before).max() < 1e-9:
            break
    return f.mean() + g.mean()


@pytest.mark.parametrize("epsilon", [0.05, pytest.param(0.1, marks=pytest.mark.slow), 1.0])
def test_sinkhorn_against_plain_updates_in_double_precision(epsilon):
    member = bank().member(0)
    x, labels = sets(1, per_class=4)
    real, fake = by_class(member, *records()), by_class(member, x[0], labels[0].argmax(1))
    gaps = [
        exact_transport(a, b, epsilon)
        - exact_transport(a, a, epsilon) / 2
        - exact_transport(b, b, epsilon) / 2
        for a, b in zip(real, fake, strict=True)
    ]
    value = Sinkhorn(epsilon=epsilon).value(encode(x, labels, member), target(member))
    assert value.item() == pytest.approx(sum(gaps) / 3, rel=0.02)


def test_sinkhorn_of_a_large_epsilon_is_half_of_distribution_matching():
    member = bank().member(0)
    encoded, t = encode(*sets(3), member), target(member)
    found = Sinkhorn(epsilon=1000.0).value(encoded, t)
    torch.testing.assert_close(found, FeatureMean().value(encoded, t) / 2, rtol=0.02, atol=1e-4)


def test_clouds_pad_with_points_of_no_weight():
    features = torch.arange(10.0).view(1, 5, 2)
    labels = one_hot(torch.tensor([0, 2, 0, 0, 2]), 3)[None]
    points, weights = clouds(features, labels)
    assert points.shape == (1, 3, 3, 2)
    assert sorted(points[0, 0, :, 0].tolist()) == [0.0, 4.0, 6.0]
    assert weights[0, 0].tolist() == pytest.approx([1 / 3] * 3)
    assert sorted(weights[0, 2].tolist()) == [0.0, 0.5, 0.5]
    assert weights[0, 1].isnan().all()


def test_squared_distances_have_a_finite_slope_where_points_meet():
    x = torch.rand(3, 2, requires_grad=True)
    squared_distances(x, x.detach()).sum().backward()
    assert torch.isfinite(x.grad).all()
