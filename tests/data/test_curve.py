"""Curves: Bernstein polynomials, corners, and every point an ordinary set."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.data.curve import Curve, bernstein, corners, exponents, load_curve, save_curve
from moc.data.declared import DataInfo
from moc.data.decoder import Decoder
from moc.data.storage import load_set, save_set
from moc.errors import DataError

INFO = DataInfo(name="toy", shape=(1, 4, 4), classes=("a", "b", "c"), count=9)
NAMES = ("error", "robust_error", "transfer_error")


def curve(losses: int = 2, degree: int = 2, *, learned: bool = True, seed: int = 0) -> Curve:
    generator = torch.Generator().manual_seed(seed)
    controls = len(exponents(losses, degree))
    labels = torch.randn(controls, 5, 3, generator=generator)
    return Curve(
        info=INFO,
        losses=NAMES[:losses],
        degree=degree,
        x=torch.rand(controls, 5, 1, 4, 4, generator=generator),
        labels=labels if learned else labels[:1].softmax(-1),
        decoder=Decoder(multi_formation=2),
    )


def simplex(losses: int) -> st.SearchStrategy[tuple[float, ...]]:
    cuts = st.lists(st.floats(0, 1), min_size=losses - 1, max_size=losses - 1).map(sorted)
    return cuts.map(lambda c: tuple(b - a for a, b in zip([0.0, *c], [*c, 1.0], strict=True)))


@given(weights=st.integers(2, 4).flatmap(simplex), degree=st.integers(1, 4))
def test_bernstein_polynomials_are_shares_and_reproduce_lines(weights, degree):
    """They are no less than 0, sum to one, and Σ B_α(w) α/d = w (linear precision)."""
    w = torch.tensor([weights], dtype=torch.float64)
    rows = exponents(len(weights), degree)
    basis = bernstein(w, degree)
    assert len(rows) == math.comb(len(weights) + degree - 1, degree) == basis.shape[1]
    assert (basis >= 0).all()
    torch.testing.assert_close(basis.sum(1), torch.ones(1, dtype=torch.float64))
    nodes = torch.tensor(rows, dtype=torch.float64) / degree
    torch.testing.assert_close(basis @ nodes, w)


@pytest.mark.parametrize("degree", [2, 3])
@pytest.mark.parametrize("losses", [2, 3])
def test_a_corner_is_its_control_set(losses, degree):
    one = curve(losses, degree)
    for own, place in enumerate(corners(losses, degree)):
        point = {name: float(k == own) for k, name in enumerate(one.losses) if k}
        found = one.at(**point)
        assert torch.equal(found.x, one.x[place])
        torch.testing.assert_close(found.labels, one.labels[place].softmax(-1))


@given(weights=simplex(3), learned=st.booleans())
def test_every_point_is_an_ordinary_set(weights, learned):
    one = curve(3, learned=learned)
    found = one.at(robust_error=weights[1], transfer_error=weights[2])
    assert found.decoder == one.decoder
    assert found.x.min() >= 0
    assert found.x.max() <= 1
    if not learned:
        assert torch.equal(found.labels, one.labels[0])


@pytest.mark.parametrize(
    "point", [{}, {"error": 0.5}, {"robust_error": -0.1}, {"robust_error": 1.1}, {"robust": 0.5}]
)
def test_a_point_off_the_curve_is_refused(point):
    with pytest.raises(DataError, match="a weight of robust_error, from 0 to 1"):
        curve().at(**point)


def test_a_stored_curve_comes_back(tmp_path):
    one = curve(3)
    found = load_curve(save_curve(one, tmp_path / "curves" / "rung-0.safetensors"))
    assert (found.info, found.losses, found.degree) == (one.info, one.losses, one.degree)
    assert found.decoder == one.decoder
    assert torch.equal(found.x, one.x)
    assert torch.equal(found.labels, one.labels)


def test_a_set_is_no_curve_and_a_curve_no_set(tmp_path):
    one = save_curve(curve(), tmp_path / "curve.safetensors")
    with pytest.raises(DataError, match="not a synthetic set stored by moc"):
        load_set(one)
    other = save_set(curve().at(robust_error=0.5), tmp_path / "set.safetensors")
    with pytest.raises(DataError, match="not a curve of synthetic sets stored by moc"):
        load_curve(other)


def test_control_sets_must_fit_the_degree():
    one = curve()
    with pytest.raises(DataError, match="A curve of 4 control sets"):
        Curve(info=INFO, losses=one.losses, degree=3, x=one.x, labels=one.labels)
