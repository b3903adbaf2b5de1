"""Scalarisers against their definitions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.condense.scalarise import (
    SCALARISERS,
    AugmentedTchebycheff,
    BoundaryIntersection,
    Linear,
    Normalisation,
    SmoothTchebycheff,
)
from moc.errors import StudyError

unit = st.floats(0.0, 1.0)


@given(a=unit, b=unit, r=st.floats(0.05, 0.95), mu=st.floats(0.01, 0.5))
def test_smooth_tchebycheff_is_within_mu_log_m_of_tchebycheff(a, b, r, mu):
    losses, weights = torch.tensor([[a, b]]), torch.tensor([[1 - r, r]])
    hard = float(((losses + 0.05) * weights).max())
    smooth = float(SmoothTchebycheff(mu=mu).join(losses, weights))
    assert hard - 1e-5 <= smooth <= hard + mu * 0.6932 + 1e-5


@given(a=unit, b=unit, r=unit)
def test_linear_is_the_weighted_sum(a, b, r):
    value = Linear().join(torch.tensor([[a, b]]), torch.tensor([[1 - r, r]]))
    assert float(value) == pytest.approx((1 - r) * a + r * b, abs=1e-6)


@pytest.mark.parametrize("kind", ["linear", "stch", "augmented-tchebycheff", "pbi"])
class TestContract:
    @pytest.fixture
    def drawn(self):
        generator = torch.Generator().manual_seed(0)
        losses = torch.rand(40, 3, generator=generator, dtype=torch.float64)
        weights = torch.rand(40, 3, generator=generator, dtype=torch.float64)
        return losses, weights / weights.sum(-1, keepdim=True)

    def test_joins_each_set_by_its_own_weights(self, kind, drawn):
        joined = SCALARISERS.make(kind).join(*drawn)
        alone = [SCALARISERS.make(kind).join(f[None], w[None]) for f, w in zip(*drawn, strict=True)]
        torch.testing.assert_close(joined, torch.cat(alone))

    def test_gradients_are_finite_at_the_ideal_and_at_the_ends_too(self, kind):
        losses = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
        weights = torch.cat([torch.eye(3), torch.full((1, 3), 1 / 3)]).double()
        SCALARISERS.make(kind).join(losses, weights).sum().backward()
        assert losses.grad is not None
        assert losses.grad.isfinite().all()
        assert (losses.grad[range(3), range(3)] > 0).all()

    def test_more_weight_means_less_of_a_loss(self, kind):
        angle = torch.linspace(0, torch.pi / 2, 2001, dtype=torch.float64)
        front = 1 - torch.stack([angle.sin(), angle.cos()], dim=1)  # convex
        least = []
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            weights = torch.tensor([[share, 1 - share]], dtype=torch.float64).expand_as(front)
            least.append(float(front[SCALARISERS.make(kind).join(front, weights).argmin(), 0]))
        assert least == sorted(least, reverse=True)
        assert least[0] > least[2] > least[4]


def test_scalarisers_are_those_of_torchjd():
    torchjd = pytest.importorskip("torchjd.scalarization")
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    losses = torch.rand(30, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    below = torch.full((3,), -0.05, dtype=torch.float64)
    pairs = [
        ("stch", torchjd.STCH(mu=0.05, weights=weights, reference=below)),
        ("pbi", torchjd.PBI(theta=5.0, weights=1 / weights, reference=below)),
    ]
    for kind, theirs in pairs:
        ours = SCALARISERS.make(kind).join(losses, weights.expand_as(losses))
        expected = torch.stack([theirs(row) for row in losses])
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0.0)


@given(a=unit, b=unit, r=st.floats(0.05, 0.95))
def test_augmented_tchebycheff_is_tchebycheff_and_a_share_of_the_sum(a, b, r):
    weighed = ((1 - r) * (a + 0.05), r * (b + 0.05))
    value = AugmentedTchebycheff(rho=0.1).join(torch.tensor([[a, b]]), torch.tensor([[1 - r, r]]))
    assert float(value) == pytest.approx(max(weighed) + 0.1 * sum(weighed), abs=1e-6)


def test_all_but_the_linear_sum_reach_the_middle_of_a_concave_front():
    # f = (t², ...) on a quarter circle: points (sin, cos), whose front bends away from the origin.
    angle = torch.linspace(0, torch.pi / 2, 2001)
    front = torch.stack([angle.sin(), angle.cos()], dim=1)
    weights = torch.tensor([[0.45, 0.55]]).expand(len(front), 2)
    curved = (SmoothTchebycheff(mu=0.01), AugmentedTchebycheff(), BoundaryIntersection())
    middles = [float(angle[one.join(front, weights).argmin()]) for one in curved]
    edge = float(angle[Linear().join(front, weights).argmin()])
    assert all(0.5 < middle < 1.1 for middle in middles)
    assert edge in (pytest.approx(0.0, abs=1e-3), pytest.approx(torch.pi / 2, abs=1e-3))


def test_normalisation_maps_ideal_to_zero_and_nadir_to_one_for_each_set():
    first = Normalisation(ideal=(1.0, 2.0), nadir=(3.0, 6.0))
    second = Normalisation(ideal=(0.0, 0.0), nadir=(10.0, 20.0))
    stacked = Normalisation.stack([first, first, second])
    assert stacked is not None
    mapped = stacked.apply(torch.tensor([[1.0, 2.0], [3.0, 6.0], [5.0, 5.0]]))
    torch.testing.assert_close(mapped, torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.25]]))


def test_anchors_give_the_ideal_and_the_worst_of_the_others():
    found = Normalisation.from_anchors([(1.0, 9.0, 5.0), (4.0, 2.0, 8.0), (6.0, 7.0, 3.0)])
    assert found == Normalisation(ideal=(1.0, 2.0, 3.0), nadir=(6.0, 9.0, 8.0))


def test_anchors_and_normalised_sets_do_not_mix():
    assert Normalisation.stack([None, None]) is None
    with pytest.raises(ValueError, match="apart"):
        Normalisation.stack([None, Normalisation(ideal=(0.0,), nadir=(1.0,))])


def test_unknown_names_are_refused():
    with pytest.raises(StudyError, match="stch"):
        SCALARISERS.make("epo")
