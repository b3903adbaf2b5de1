"""Statistics: bounded terms, each of its own record, and the same averages of S as of T."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from privacy.private_tools import INFO, Brightness, Cubes, real, toy, worst_case
from torch.nn.functional import one_hot

from moc.data.vault import Records, unseal
from moc.networks.bank import encode
from moc.privacy.isolation import probes
from moc.statistics.base import STATISTICS
from moc.statistics.fourier import Fourier
from moc.statistics.head_gradients import HeadGradients
from moc.statistics.second_moments import nearest_psd, unvech, vech

BOUNDED = [STATISTICS.make(kind) for kind in sorted(STATISTICS.parts)]
EVERY = [*BOUNDED, Brightness(), Cubes()]


FREQUENCIES_OF_TWO = [-0.44605887236, 0.03584190829, -0.54866335979, -0.70619781762]
"""Terms of two frequencies at (0.6, 0.8): another seed would be another release."""


def named(part):
    return part.kind


def test_the_family_finds_its_parts_in_their_files():
    expected = {"class-counts", "class-means", "fourier", "head-gradients", "second-moments"}
    assert expected <= STATISTICS.parts.keys()


def batch(collection, n=9):
    """A network, records, one-hot labels and features, float64."""
    records = probes(collection.bank.info, n)
    records = Records(x=records.x.clamp(max=0.9), y=records.y)
    member = collection.bank.member(0)
    labels = one_hot(records.y, len(collection.bank.info.classes)).double()
    return member, records.x, labels, member(records.x).double()


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("part", EVERY, ids=named)
def test_squared_norms_are_those_of_the_terms(part, size):
    """The clip goes by them: a short way that fell short would be a hole."""
    seen = batch(worst_case(size=size, width=3))
    norms = part.squared_norms(*seen)
    exact = part.terms(*seen).double().square().sum(1)
    assert norms.dtype == torch.float64
    assert torch.allclose(norms, exact, rtol=1e-12, atol=0)


@pytest.mark.parametrize("part", BOUNDED, ids=named)
@pytest.mark.parametrize("network", ["convnet2-w8", "mlp1-w16"])
def test_terms_have_norm_at_most_one_under_networks_whose_features_do(digits, part, network):
    seen = batch(real(digits.info, name=network), n=40)
    assert part.terms(*seen).norm(dim=1).max() <= 1 + 1e-6


@pytest.mark.parametrize("part", EVERY, ids=named)
def test_a_term_is_that_of_its_record_alone_and_has_the_size_it_says(part):
    collection = worst_case(width=3)
    member, x, labels, features = batch(collection)
    terms = part.terms(member, x, labels, features)
    assert terms.shape == (len(x), part.shape(collection.bank)[1])
    for i in (0, 4):
        alone = part.terms(member, x[[i]], labels[[i]], features[[i]])
        assert torch.allclose(alone[0], terms[i], rtol=1e-12)


@pytest.mark.parametrize("part", EVERY, ids=named)
def test_averages_of_a_set_are_what_a_release_of_the_same_records_says(part):
    """S and T are compared on one scale: sums over N by class shares are means of S."""
    statistics = (part.but(weight=1.0),)
    collection = worst_case(size=0.1, networks=1, statistics=statistics, width=3)
    member, x, labels, features = batch(collection, INFO.count)
    x, features = x / 2, member(x / 2).double()
    assert part.squared_norms(member, x, labels, features).max() < 1 + 1e-9, "nothing is clipped"
    sums = collection.sums(Records(x=x, y=labels.argmax(1)))
    released = collection.average(part.kind, sums.blocks[part.kind])
    released = released[0] if part.per_network else released
    if part.by_class:
        released = released / labels.mean(0)[:, None]
    averages = part.averages(member, x[None], labels[None], features[None])
    assert torch.allclose(averages[0].double(), released, atol=1e-4)


@pytest.mark.parametrize("part", EVERY, ids=named)
def test_averages_by_class_weigh_records_by_their_labels(part):
    member, x, labels, features = batch(worst_case(width=3), n=8)
    soft = (labels + 0.2) / (labels + 0.2).sum(1, keepdim=True)
    sets = [t.unflatten(0, (2, 4)) for t in (x, soft, features)]
    found = part.averages(member, *sets)
    terms = part.terms(member, x, soft, features).unflatten(0, (2, 4)).double()
    weight = sets[1] if part.by_class else torch.ones(2, 4, 1)
    exact = (weight.double().mT @ terms) / weight.double().sum(1)[..., None]
    assert torch.allclose(found.double(), exact, rtol=1e-6)


@pytest.mark.parametrize("part", [p for p in EVERY if p.by_class], ids=named)
def test_a_class_that_a_set_lacks_has_no_average(part):
    member, x, labels, features = batch(worst_case(width=3), n=4)
    labels = torch.tensor([[1.0, 0.0, 0.0]] * 2 + [[0.0, 1.0, 0.0]] * 2, dtype=torch.float64)
    found = part.averages(member, x[None], labels[None], features[None])[0]
    assert found[:2].isfinite().all()
    assert found[2].isnan().all()


@pytest.mark.parametrize("part", [p for p in EVERY if p.kind != "class-counts"], ids=named)
def test_of_a_set_it_is_differentiable_in_the_records(digits, part):
    collection = real(digits.info, name="mlp1-w16", width=4)
    x = torch.rand(2, 20, *digits.info.shape, generator=torch.Generator().manual_seed(0))
    x.requires_grad_(True)
    labels = one_hot(torch.arange(20) % 10, 10).float().expand(2, -1, -1)
    found = part.of(encode(x, labels, collection.bank.member(0)))
    assert found.shape == (2, *part.shape(collection.bank))
    found.square().sum().backward()
    assert (x.grad.flatten(2).norm(dim=2) > 0).all()


def gaussian_kernel(a, b, bandwidth):
    return (-torch.cdist(a, b).square() / (2 * bandwidth**2)).exp()


@pytest.mark.parametrize("bandwidth", [0.3, 0.5, 1.5])
def test_fourier_features_approximate_the_kernel_and_have_norm_one(bandwidth):
    generator = torch.Generator().manual_seed(1)
    phi = F.normalize(torch.randn(60, 16, generator=generator, dtype=torch.float64), dim=1)
    terms = Fourier(bandwidth=bandwidth, frequencies=4096).terms(None, phi, phi, phi)
    assert torch.allclose(terms.norm(dim=1), torch.ones(60, dtype=torch.float64))
    # A mean of 4096 cosines of standard deviation at most 0.71, in 1,800 pairs.
    assert (terms @ terms.T - gaussian_kernel(phi, phi, bandwidth)).abs().max() < 0.06


def test_the_distance_of_fourier_means_approximates_the_maximum_mean_discrepancy():
    generator = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 200, 8, generator=generator, dtype=torch.float64)
    a, b = F.normalize(a, dim=1), F.normalize(b + 0.7, dim=1)
    exact = sum(
        sign * gaussian_kernel(p, q, 0.5).mean()
        for sign, p, q in ((1, a, a), (1, b, b), (-2, a, b))
    )
    part = Fourier(frequencies=4096)
    gap = part.terms(None, a, a, a).mean(0) - part.terms(None, b, b, b).mean(0)
    assert gap.square().sum() == pytest.approx(float(exact), rel=0.1)


def test_frequencies_are_public_and_the_same_for_everybody():
    phi = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    found = Fourier(frequencies=2).terms(None, phi, phi, phi)
    assert found.tolist()[0] == pytest.approx(FREQUENCIES_OF_TWO, abs=1e-9)
    torch.manual_seed(5)
    assert torch.equal(Fourier(frequencies=2).terms(None, phi, phi, phi), found)


def test_head_gradients_are_what_autograd_says(digits):
    collection = real(digits.info)
    member = collection.bank.member(0)
    records = unseal(toy(6, shape=digits.info.shape))
    labels = one_hot(records.y, 10).double()
    features = member(records.x).double()
    terms = HeadGradients().terms(member, records.x, labels, features)
    head = member.network.head.weight.detach().double().requires_grad_(True)
    for term, phi, label in zip(terms, features, labels, strict=True):
        loss = F.cross_entropy((phi @ head.T)[None], label[None])
        (gradient,) = torch.autograd.grad(loss, head)
        assert torch.allclose(term * math.sqrt(2), gradient.flatten(), atol=1e-6)


@given(psi=st.lists(st.floats(-3, 3, allow_subnormal=False), min_size=1, max_size=5))
def test_vech_keeps_norms_and_unvech_undoes_it(psi):
    psi = torch.tensor([psi], dtype=torch.float64)
    assert vech(psi).norm().item() == pytest.approx(psi.square().sum().item(), abs=1e-12)
    assert torch.allclose(unvech(vech(psi)), psi.mT @ psi, atol=1e-12)


def test_the_nearest_semidefinite_matrix_is_semidefinite_and_nearest():
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(5, 4, 4, generator=generator, dtype=torch.float64)
    noisy = noisy + noisy.mT
    found = nearest_psd(noisy)
    assert torch.linalg.eigvalsh(found).min() > -1e-12
    assert torch.allclose(nearest_psd(found), found)
    for _ in range(50):
        root = torch.randn(5, 4, 4, generator=generator, dtype=torch.float64)
        other = found + 0.1 * root @ root.mT
        assert ((other - noisy).norm(dim=(1, 2)) >= (found - noisy).norm(dim=(1, 2)) - 1e-9).all()
