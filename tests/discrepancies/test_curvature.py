"""Curvature against closed forms, and the objective made of it."""

import math

import pytest
import torch
from discrepancies.views import INFO, NETWORK, bank, released, sets, target
from hypothesis import given
from hypothesis import strategies as st

from moc.attacks.threat import Threat
from moc.discrepancies.curvature import Curvature, CurvatureRisk, curvature
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.gradient import GradientMatching
from moc.discrepancies.ridge import RidgeRisk
from moc.errors import StudyError
from moc.networks.bank import encode
from moc.networks.network import build
from moc.statistics.class_means import ClassMeans

THREATS = [Threat(eps=0.05), Threat(norm="L2", eps=0.05)]


def inside(*shape, seed=0):
    """Records far enough from 0 and 1 that no step leaves the box."""
    return 0.2 + 0.6 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("threat", THREATS, ids=lambda t: t.norm)
def test_a_linear_loss_has_none(threat):
    w = torch.randn(6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(
        curvature(lambda x: x @ w, inside(2, 3, 6), threat=threat), torch.zeros(2, 3)
    )


@given(seed=st.integers(0, 100), norm=st.sampled_from(["Linf", "L2"]), eps=st.floats(0.01, 0.2))
def test_of_a_quadratic_it_is_the_hessian_times_the_step(seed, norm, eps):
    a = torch.randn(6, 6, generator=torch.Generator().manual_seed(seed))
    a, x = a + a.T, inside(2, 3, 6, seed=seed)
    found = curvature(lambda x: 0.5 * ((x @ a) * x).sum(2), x, threat=Threat(norm=norm, eps=eps))
    slope = x @ a
    z = slope.sign() if norm == "Linf" else slope / slope.norm(dim=2, keepdim=True)
    scale = eps**2 * (6 if norm == "Linf" else 1)
    expected = scale * (eps * z @ a).square().sum(2)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("threat", THREATS, ids=lambda t: t.norm)
def test_no_step_no_curvature_and_no_gradient_no_nan(threat):
    x = inside(1, 2, 6)
    none = Threat(norm=threat.norm, eps=0.0)
    assert (curvature(lambda x: x.square().sum(2), x, threat=none) == 0).all()
    flat = curvature(lambda x: (x * 0.0).sum(2), x, threat=threat)
    assert (flat == 0).all()


def test_steps_stay_in_the_box():
    seen = []

    def losses(x):
        seen.append(x.detach())
        return x.square().sum(2)

    curvature(losses, torch.rand(1, 5, 6).round(), threat=Threat(eps=0.3))
    assert math.isclose(seen[1].min(), 0.0)
    assert math.isclose(seen[1].max(), 1.0)


@pytest.mark.parametrize("discrepancy", [RidgeRisk(), FeatureMean()], ids=["ridge", "mean"])
class TestObjective:
    def test_without_a_weight_it_is_the_discrepancy(self, discrepancy):
        member = bank().member(0)
        t, encoded = target(member), encode(*sets(3), member)
        risk = CurvatureRisk(discrepancy, threat=THREATS[0], weight=0.0)
        torch.testing.assert_close(risk(encoded, t), discrepancy.value(encoded, t))

    def test_sets_together_score_as_alone_and_the_term_is_proportional(self, discrepancy):
        member = bank().member(0)
        (x, labels), t = sets(3), target(member)
        one, two = (CurvatureRisk(discrepancy, threat=THREATS[0], weight=w) for w in (5.0, 10.0))
        together = two(encode(x, labels, member), t)
        alone = [two(encode(x[b : b + 1], labels[b : b + 1], member), t) for b in range(3)]
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-6)
        clean = discrepancy.value(encode(x, labels, member), t)
        half = one(encode(x, labels, member), t) - clean
        assert (half > 0).all()
        torch.testing.assert_close(together - clean, 2 * half, rtol=1e-3, atol=1e-6)

    def test_the_gradient_of_the_term_reaches_the_images_through_the_predictor(self, discrepancy):
        member = bank().member(0)
        (x, labels), t = sets(1), target(member)
        encoded = encode(x.requires_grad_(True), labels, member)
        term = CurvatureRisk(discrepancy, threat=THREATS[0], weight=1.0)
        value = term(encoded, t) - discrepancy.value(encoded, t)
        (slope,) = torch.autograd.grad(value.sum(), x)
        assert (slope.flatten(2).abs().sum(2) > 0).all()
        step = 1e-2 * slope / slope.norm()
        lower = encode((x - step).detach(), labels, member)
        after = term(lower, t) - discrepancy.value(lower, t)
        assert after < value


def test_only_records_and_predictors_of_s_have_curvature():
    with pytest.raises(StudyError, match="fitted on S"):
        Curvature().check(GradientMatching())
    with pytest.raises(StudyError, match="fitted on S"):
        Curvature(discrepancy=GradientMatching()).check(RidgeRisk())
    Curvature(discrepancy=RidgeRisk()).check(GradientMatching())
    sums, encoded = released(bank(), (ClassMeans(),)), encode(*sets(1), bank().member(0))
    with pytest.raises(StudyError, match="holds only sums"):
        CurvatureRisk(RidgeRisk(), threat=THREATS[0])(encoded, sums)


def test_a_steeper_network_bends_more():
    network = build(NETWORK, INFO, seed=0).requires_grad_(False)
    x = inside(1, 4, 1, 8, 8)

    def losses(scale):
        return lambda x: scale * network(x.flatten(0, 1)).logsumexp(1).unflatten(0, x.shape[:2])

    plain, steep = (curvature(losses(s), x, threat=THREATS[0]) for s in (1.0, 3.0))
    torch.testing.assert_close(steep, 9 * plain, rtol=1e-3, atol=1e-6)
