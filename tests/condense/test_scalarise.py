"""Scalarisers against their definitions."""

import pytest
import torch
from hypothesis import assume, given
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


monotone = st.sampled_from([Linear(), SmoothTchebycheff(), AugmentedTchebycheff()])
losses_of_three = st.lists(unit, min_size=3, max_size=3)
shares = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3)


def rows(*values):
    return [torch.tensor([value], dtype=torch.float64) for value in values]


def ray_of(weights):
    floored = torch.tensor(weights, dtype=torch.float64).clamp_min(0.02)
    return torch.nn.functional.normalize(floored.sum() / floored, dim=0)


@given(monotone, losses_of_three, shares, st.integers(0, 2), unit)
def test_a_rise_of_a_loss_lowers_none_of_these(scalariser, values, weights, which, rise):
    raised = [value + rise * (k == which) for k, value in enumerate(values)]
    before, after, share = rows(values, raised, [w / sum(weights) for w in weights])
    assert float(scalariser.join(after, share)) >= float(scalariser.join(before, share)) - 1e-12


@given(losses_of_three, shares, st.integers(0, 2), unit, unit)
def test_nor_pbi_up_to_the_angle_of_its_ray(values, weights, which, rise, part):
    share = [w / sum(weights) for w in weights]
    ray = ray_of(share)
    theta = part * float((ray / (1 - ray**2).sqrt()).min())
    assume(theta >= 1e-3)
    raised = [value + rise * (k == which) for k, value in enumerate(values)]
    before, after, share = rows(values, raised, share)
    join = BoundaryIntersection(theta=theta * (1 - 1e-9)).join
    assert float(join(after, share)) >= float(join(before, share)) - 1e-9


def test_pbi_beyond_it_takes_the_worse_of_two_sets_where_that_is_nearer_to_its_ray():
    better, worse, even = rows([0.2, 0.8], [0.7, 0.8], [0.5, 0.5])
    far, near = BoundaryIntersection(theta=5.0), BoundaryIntersection(theta=0.9)
    assert float(far.join(worse, even)) < float(far.join(better, even))
    assert float(near.join(worse, even)) > float(near.join(better, even))


@given(losses_of_three, shares)
def test_limits_of_their_settings(values, weights):
    losses, share = rows(values, [w / sum(weights) for w in weights])
    floored = share.clamp_min(0.02) / share.clamp_min(0.02).sum()
    hard = float((floored * (losses + 0.05)).max())
    assert float(AugmentedTchebycheff(rho=1e-9).join(losses, share)) == pytest.approx(hard)
    assert float(SmoothTchebycheff(mu=1e-6).join(losses, share)) == pytest.approx(hard, abs=2e-6)
    along = float(((losses + 0.05) * ray_of(share[0].tolist())).sum())
    assert float(BoundaryIntersection(theta=1e-9).join(losses, share)) == pytest.approx(along)


@pytest.mark.parametrize("kind", SCALARISERS.parts)
def test_gradients_are_those_of_finite_differences(kind):
    generator = torch.Generator().manual_seed(2)
    losses = torch.rand(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(6, 3, generator=generator, dtype=torch.float64).softmax(-1)
    assert torch.autograd.gradcheck(lambda f: SCALARISERS.make(kind).join(f, weights), losses)


def least(scalariser, points, weights):
    """Which of the points (n, m) has the least value."""
    return int(scalariser.join(points, weights.expand_as(points)).argmin())


@given(st.lists(st.tuples(unit, unit, unit), min_size=2, max_size=12, unique=True))
def test_tchebycheff_finds_every_point_of_a_front_that_lies_within_reach_of_its_weights(values):
    """At weights in proportion to 1 / (f - z), the paper's: no other point is below it there."""
    points = torch.tensor([[round(v, 2) for v in row] for row in values], dtype=torch.float64)
    points = points.unique(dim=0)
    for k, point in enumerate(points):
        others = torch.cat([points[:k], points[k + 1 :]])
        if (others <= point).all(-1).any():
            continue  # dominated
        weights = 1 / (point + 0.05)
        weights = weights / weights.sum()
        if weights.min() < 0.02:
            continue  # the floor moves these
        assert least(AugmentedTchebycheff(rho=1e-6), points, weights) == k
        assert least(SmoothTchebycheff(mu=1e-5), points, weights) == k


@given(st.floats(0.01, 0.98), st.floats(0.01, 0.98), st.floats(0.0, 1.0))
def test_no_weights_let_a_sum_find_what_lies_behind_the_line_between_two_others(part, back, r):
    behind = [part + back * (1 - part), 1 - part + back * part]  # and neither end dominates it
    points = torch.tensor([[0.0, 1.0], behind, [1.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor([1 - r, r], dtype=torch.float64)
    assert least(Linear(), points, weights) != 1
    onto = 1 / (points[1] + 0.05)
    assert least(AugmentedTchebycheff(rho=1e-6), points, onto / onto.sum()) == 1


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
