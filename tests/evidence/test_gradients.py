"""Clipped gradients: those of autograd, and one record moves their sum by at most C."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
import training_checks as checks
from evidence_tools import part, squared_norm
from hypothesis import given, settings
from hypothesis import strategies as st
from training_checks import INFO, images, loud_network

from moc.attacks import Attack, Threat
from moc.data._vault import Records
from moc.errors import PrivacyError
from moc.evidence.gradients import ClippedGradients
from moc.evidence.statistics import GRID

ATTACKS = [None, Attack(name="fgsm", steps=1), Attack(name="pgd-margin", steps=2)]


@pytest.mark.parametrize("loud", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("name", ["convnet2-w8", "convnet2-w8-plain", "mlp2-w16", "linear"])
def test_they_are_those_of_autograd_clipped_one_by_one(name, loud):
    network, records, clip = loud_network(loud, name=name), images(7), 0.7
    expected = torch.zeros(sum(p.numel() for p in network.parameters()), dtype=torch.float64)
    for x, y in zip(records.x, records.y, strict=True):
        loss = F.cross_entropy(network(x[None]), y[None])
        found = torch.autograd.grad(loss, list(network.parameters()))
        whole = torch.cat([g.flatten() for g in found]).double()
        expected += whole * min(1.0, clip / float(whole.norm()))
    with ClippedGradients(network, clip=clip) as gradients:
        sums = gradients.sums(records).double() * clip / GRID
    assert (sums - expected).norm() < 1e-4 * max(float(expected.norm()), clip)


@settings(max_examples=25)
@given(
    n=st.integers(0, 9),
    place=st.integers(0, 9),
    loud=st.sampled_from([1e-3, 1.0, 1e3, 1e9]),
    clip=st.sampled_from([0.1, 1.0, 7.0]),
    one=st.sampled_from(["noise", "black", "white", "twin"]),
    attack=st.sampled_from(ATTACKS),
)
def test_one_record_moves_the_sum_by_at_most_c(n, place, loud, clip, one, attack):
    records = images(n)
    added = images(1, seed=1)
    if one in ("black", "white"):
        added.x.fill_(float(one == "white"))
    if one == "twin" and n:
        added = part(records, slice(0, 1))
    checks.check_one_record_moves_at_most_c(
        records, added, place=min(place, n), loud=loud, clip=clip, attack=attack
    )


def test_a_loud_record_moves_it_by_c_and_a_quiet_one_by_its_gradient():
    with ClippedGradients(loud_network(1e3), clip=1.0) as gradients:
        norm = squared_norm(gradients.sums(images(1))) ** 0.5 / GRID
    assert 1 - 1e-4 < norm <= 1
    with ClippedGradients(loud_network(), clip=1e6) as gradients:
        assert squared_norm(gradients.sums(images(1))) ** 0.5 / GRID < 1e-3


def test_order_and_company_make_no_difference():
    records = images(300)  # more than are taken at a time
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    with ClippedGradients(loud_network(), clip=1.0) as gradients:
        whole = gradients.sums(records)
        parts = [gradients.sums(part(records, slice(i, i + 60))) for i in range(0, 300, 60)]
        assert torch.equal(whole, gradients.sums(part(records, order)))
        assert torch.equal(whole, torch.stack(parts).sum(0))
        assert torch.equal(gradients.sums(images(0)), torch.zeros_like(whole))


def test_stored_bytes_are_the_same_records():
    grey = (images(4).x * 255).to(torch.uint8)
    y = images(4).y
    with ClippedGradients(loud_network(), clip=1.0) as gradients:
        sums = gradients.sums(Records(x=grey, y=y))
        assert torch.equal(sums, gradients.sums(Records(x=grey.float() / 255, y=y)))


def test_a_gradient_that_is_not_finite_contributes_nothing():
    network, records = loud_network(name="linear"), images(3)
    records.x[0] = 1.0
    network.head.weight.data.fill_(1e38)  # overflows for the white record, whose logits are NaN
    records.x[1:] = 0.5  # (x - mean) / std = 0: its logits are the biases
    with ClippedGradients(network, clip=1.0) as gradients:
        assert squared_norm(gradients.sums(part(records, slice(0, 1)))) == 0
        others = gradients.sums(part(records, slice(1, 3)))
        assert squared_norm(others) > 0
        assert torch.equal(gradients.sums(records), others)


def test_the_network_is_left_as_it_was():
    network = loud_network()
    before = copy.deepcopy(network.state_dict())
    state = torch.get_rng_state()
    attack = Attack(name="pgd-ce", steps=2)
    with ClippedGradients(network, clip=1.0, attack=attack, threat=Threat(eps=0.1)) as gradients:
        gradients.sums(images(3))
    assert torch.equal(state, torch.get_rng_state())
    assert not network.training
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert all(p.grad is None and not hasattr(p, "grad_sample") for p in network.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in network.modules())


@pytest.mark.parametrize(
    "attack", [Attack(name="pgd-ce", steps=2, random_start=True), Attack(name="square", steps=5)]
)
def test_attacks_that_couple_records_are_refused(attack):
    with pytest.raises(PrivacyError, match="treat each by itself"):
        ClippedGradients(loud_network(), clip=1.0, attack=attack, threat=Threat(eps=0.1))


def test_layers_with_statistics_of_records_are_refused():
    network = loud_network()
    network.body.append(torch.nn.BatchNorm1d(network.features))
    with (
        pytest.raises(PrivacyError, match="statistics of records"),
        ClippedGradients(network, clip=1.0) as gradients,
    ):
        gradients.require_isolated(INFO)
