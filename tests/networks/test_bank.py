"""Banks: networks from a public seed, the same anywhere, each record by itself, norm one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.data.augment import Augmentation
from moc.data.declared import DataInfo
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank, encode

IMAGES = DataInfo(name="toy", shape=(1, 8, 8), classes=("a", "b", "c"), count=10)
VECTORS = DataInfo(name="toy", shape=(5,), classes=("a", "b"), count=10)
NETWORKS = (parse_network("convnet2-w8"), parse_network("mlp1-w12"))


def bank(info=IMAGES, **changes) -> Bank:
    return Bank(**{"info": info, "networks": NETWORKS, "seed": 3, **changes})


def records(n, info=IMAGES, seed=0):
    return torch.rand(n, *info.shape, generator=torch.Generator().manual_seed(seed))


def rebuilt(member_of: Bank, k: int):
    """Member k built anew, not taken from the cache."""
    from moc.networks.bank import _member

    return _member.__wrapped__(member_of, k)


@pytest.mark.parametrize("k", [0, 1, 7])
def test_a_member_is_rebuilt_from_its_seed_to_the_last_bit(k):
    one = bank(augmentation=Augmentation.dsa(False), width=4)
    state = torch.get_rng_state()
    a, b = rebuilt(one, k), rebuilt(one, k)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a(records(6)), b(records(6)))
    assert torch.equal(a.projection, b.projection)
    assert torch.equal(one.member(k)(records(6)), a(records(6)))


def test_members_seeds_and_kinds_differ():
    x = records(4)
    found = [bank(seed=seed).member(k) for seed in (1, 2) for k in (0, 2)]
    features = torch.stack([member(x) for member in found])
    assert len(features.flatten(1).unique(dim=0)) == 4
    assert bank().member(1).dimension == 12
    assert bank().member(0).dimension == bank().member(2).dimension != 12


def test_nothing_about_a_member_depends_on_how_many_records_there_are_or_their_name():
    other = bank(replace(IMAGES, count=99, name="other"))
    assert torch.equal(bank().member(0)(records(4)), other.member(0)(records(4)))


@given(st.integers(0, 5), st.integers(0, 2**31), st.sampled_from([0.0, 0.5, 1.0]))
def test_features_have_norm_one(k, seed, contrast):
    x = (records(3, seed=seed) - 0.5) * contrast + 0.5
    norms = bank(augmentation=Augmentation.dsa(False)).member(k)(x).norm(dim=1)
    assert torch.allclose(norms, torch.ones(3), atol=1e-5)


def test_features_are_centred_by_public_noise():
    """The mean of noise images is near the centre: what is left has no common direction."""
    member = bank().member(0)
    left = member.network.embed(records(500, seed=9)) - member.centre
    assert left.mean(0).norm() < 0.2 * left.norm(dim=1).mean()
    raw = member.network.embed(records(500, seed=9))
    assert raw.mean(0).norm() > 0.5 * raw.norm(dim=1).mean()


def test_a_record_is_embedded_the_same_in_any_company():
    for k in (0, 1):
        member = bank(augmentation=Augmentation.dsa(False)).member(k)
        x = records(64)
        order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
        assert torch.equal(member(x[order]), member(x)[order])
        other = torch.cat([x[:32], records(32, seed=5)])
        assert torch.equal(member(other)[:32], member(x)[:32])


def test_members_are_fixed_and_differentiable_in_the_records():
    member = bank(augmentation=Augmentation.dsa(False)).member(0)
    assert not member.training
    assert not any(p.requires_grad for p in member.parameters())
    x = records(2).requires_grad_(True)
    member(x)[:, 0].sum().backward()
    assert x.grad.abs().sum() > 0


def test_siamese_augmentation_is_one_draw_for_all_records():
    plain, augmented = bank(), bank(augmentation=Augmentation.dsa(False))
    x = records(1).repeat(5, 1, 1, 1)
    features = augmented.member(0)(x)
    assert torch.allclose(features, features[:1].expand(5, -1))
    differ = [not torch.equal(plain.member(k)(x), augmented.member(k)(x)) for k in range(8)]
    assert any(differ)


def test_vectors_are_never_augmented():
    networks = (parse_network("mlp1-w6"),)
    one = bank(VECTORS, networks=networks, augmentation=Augmentation.dsa(False)).member(0)
    assert one.draw is None
    assert one(records(3, VECTORS)).shape == (3, 6)


def test_compact_features_are_a_scaled_orthonormal_projection():
    member = bank(width=4).member(0)
    d, p = member.dimension, member.compact_dimension
    assert p == 4
    gram = member.projection.T @ member.projection
    assert torch.allclose(gram, torch.eye(4) * d / p, atol=1e-4)
    # Norms are kept on average over all directions: trace(P Pᵀ) = d.
    assert torch.allclose((member.projection @ member.projection.T).trace(), torch.tensor(float(d)))
    features = torch.randn(2, 3, d, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(member.compact(features), features @ member.projection, atol=1e-5)
    assert member.compact(features.double()).dtype == torch.float64


@pytest.mark.parametrize("width", [None, 10_000])
def test_without_a_narrower_width_compact_is_the_identity(width):
    member = bank(width=width).member(0)
    features = records(3).flatten(1)
    assert member.compact(features) is features
    assert member.compact_dimension == member.dimension


def test_sets_are_encoded_as_they_would_be_alone():
    member = bank().member(0)
    x = torch.stack([records(4, seed=s) for s in range(3)])
    labels = torch.eye(3)[torch.tensor([0, 1, 2, 0])].repeat(3, 1, 1)
    found = encode(x, labels, member)
    assert found.member is member
    assert found.features.shape == (3, 4, member.dimension)
    torch.testing.assert_close(found.features, torch.stack([member(one) for one in x]))
