"""Scalarisers against their definitions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.condense.scalarise import SCALARISERS, Linear, Normalisation, SmoothTchebycheff
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


def test_only_smooth_tchebycheff_reaches_the_middle_of_a_concave_front():
    # f = (t², ...) on a quarter circle: points (sin, cos), whose front bends away from the origin.
    angle = torch.linspace(0, torch.pi / 2, 2001)
    front = torch.stack([angle.sin(), angle.cos()], dim=1)
    weights = torch.tensor([[0.45, 0.55]]).expand(len(front), 2)
    middle = float(angle[SmoothTchebycheff(mu=0.01).join(front, weights).argmin()])
    edge = float(angle[Linear().join(front, weights).argmin()])
    assert 0.5 < middle < 1.1
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
