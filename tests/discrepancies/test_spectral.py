from __future__ import annotations

import pytest
import torch
from discrepancies.views import bank, records, sets, target, view_of

from moc.data.synthetic import one_hot
from moc.discrepancies.spectral import Spectral
from moc.networks.bank import encode

FILTERS = ["one", "value", "inverse"]


@pytest.mark.parametrize("name", FILTERS)
def test_it_is_zero_where_the_set_is_the_data(name):
    member = bank().member(0)
    x, labels = sets(1)
    same = view_of(member, x[0], labels[0])
    value = Spectral(filter=name).value(encode(x, labels, member), same)
    assert value.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", FILTERS)
def test_it_filters_the_eigenvalues(name):
    member = bank().member(0)
    x, labels = sets(1, per_class=4)

    def filtered(features, y):
        features, y = features.double(), y.double() - 1 / 3
        values, vectors = torch.linalg.eigh(features.T @ features / len(features))
        f = {"one": values**0, "value": values, "inverse": 1 / (values + 0.01)}[name]
        return vectors @ torch.diag(f) @ vectors.T @ (features.T @ y / len(y))

    real, truth = records()
    ours = filtered(member(x[0]), labels[0])
    theirs = filtered(member(real), one_hot(truth, 3))
    expected = (ours - theirs).square().sum() / 3
    value = Spectral(filter=name, ridge=0.01).value(encode(x, labels, member), target(member))
    assert value.item() == pytest.approx(expected.item(), rel=1e-3)


def test_filter_one_needs_class_sums_alone():
    assert Spectral(filter="one").needs == {"class-means"}
    assert "second-moments" in Spectral().needs
