from __future__ import annotations

import pytest
import torch
from discrepancies.views import bank, sets, target, view_of
from hypothesis import given
from hypothesis import strategies as st

from moc.discrepancies.base import DISCREPANCIES
from moc.discrepancies.distances import DISTANCES, Characteristic
from moc.discrepancies.matching import Matching
from moc.errors import StudyError
from moc.networks.bank import encode
from moc.statistics.fourier import Fourier

ALL = [DISTANCES.make(kind) for kind in sorted(DISTANCES.parts)]


@pytest.mark.parametrize("distance", ALL, ids=lambda one: one.kind)
@given(seed=st.integers(0, 999))
def test_distances_are_symmetric_zero_on_equals_and_not_negative(distance, seed):
    s, t = torch.randn(2, 2, 3, 8, generator=torch.Generator().manual_seed(seed)).unbind()
    found = distance.between(s, t)
    assert found.shape == (2, 3)
    assert (found >= 0).all()
    torch.testing.assert_close(found, distance.between(t, s))
    torch.testing.assert_close(distance.between(t, t), torch.zeros(2, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("distance", ALL, ids=lambda one: one.kind)
def test_slopes_are_finite_where_both_meet(distance):
    t = torch.randn(1, 2, 6, generator=torch.Generator().manual_seed(0))
    s = t.clone().requires_grad_(True)
    distance.between(s, t).sum().backward()
    assert torch.isfinite(s.grad).all()


@given(seed=st.integers(0, 999))
def test_half_amplitude_half_phase_is_the_gap_of_characteristic_functions(seed):
    s, t = torch.randn(2, 1, 1, 10, generator=torch.Generator().manual_seed(seed)).unbind()
    gap = torch.complex(*s.flatten().chunk(2)) - torch.complex(*t.flatten().chunk(2))
    expected = (gap.abs() / 2**0.5).sum() / 5**0.5
    assert Characteristic().between(s, t).item() == pytest.approx(expected.item(), rel=1e-4)


def test_amplitude_alone_does_not_see_a_turn():
    t = torch.tensor([[[0.6, 0.8]]])
    turned = torch.tensor([[[0.8, -0.6]]])
    assert Characteristic(amplitude=1.0).between(turned, t).item() == pytest.approx(0, abs=1e-5)
    assert Characteristic(amplitude=0.0).between(turned, t).item() > 0.5


def test_characteristic_functions_are_those_of_fourier_features():
    with pytest.raises(StudyError, match="compares fourier, found 'class-means'"):
        DISCREPANCIES.make(
            {"kind": "matching", "statistic": "class-means", "distance": "characteristic"}
        )


def test_ncfm_is_zero_on_the_data_and_positive_elsewhere():
    ncfm = Matching(statistic=Fourier(), distance=Characteristic())
    member = bank().member(0)
    x, labels = sets(2)
    encoded = encode(x, labels, member)
    same = ncfm.value(encoded, view_of(member, x[0], labels[0]))
    assert same[0].item() == pytest.approx(0.0, abs=1e-5)
    assert same[1].item() > 1e-2
    assert (ncfm.value(encoded, target(member)) > 1e-2).all()
