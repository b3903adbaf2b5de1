from __future__ import annotations

import pytest
import torch
from discrepancies.views import bank

from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.statistics.attention import Attention


def test_maps_of_each_layer_have_one_length_and_sum_over_channels():
    networks = bank()
    member = networks.member(0)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    terms = Attention(features=0.01).terms(member, x, torch.zeros(3, 3), member(x))
    assert terms.shape == (3, 64 + 16 + member.dimension)
    assert Attention().size(networks) == terms.shape[1]
    layers = member.activations(x)
    assert [tuple(one.shape) for one in layers] == [(3, 8, 8, 8), (3, 8, 4, 4)]
    first = layers[0].double().pow(4).sum(1).flatten(1)
    first = first / first.norm(dim=1, keepdim=True) / 2.01**0.5
    torch.testing.assert_close(terms[:, :64].double(), first, rtol=1e-4, atol=1e-6)
    beside = terms[:, 80:].square().sum(1)
    assert beside.tolist() == pytest.approx([0.01 / 2.01] * 3, rel=1e-4)


def test_networks_without_images_have_their_features_alone():
    info = bank().info
    networks = Bank(info=info, networks=(parse_network("mlp1-w16"),), seed=1)
    member = networks.member(0)
    x = torch.rand(2, 1, 8, 8)
    terms = Attention().terms(member, x, torch.zeros(2, 3), member(x))
    torch.testing.assert_close(terms, member(x))
