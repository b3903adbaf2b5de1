"""Networks side by side are the networks in turn, up to rounding."""

from __future__ import annotations

import pytest
import torch

from moc.attacks.autoattack import Square
from moc.attacks.gradient import PgdCe
from moc.attacks.threat import Threat
from moc.data.declared import DataInfo
from moc.evaluate.protocols.fast import Fast
from moc.networks.architectures import parse_network
from moc.networks.network import build
from moc.networks.stack import Stack, fit_stack, may_be_stacked
from moc.networks.train import fit

INFO = DataInfo(name="toy", shape=(1, 12, 12), classes=("a", "b", "c"), count=9, mirrored=True)
IMAGES = ("convnet2-w4", "convnet2-w4-half", "resnet8-w4", "mlp2-w8")


def records(sets, n):
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(sets, n, *INFO.shape, generator=generator)
    return x, torch.rand(sets, n, 3, generator=generator).softmax(-1)


def assert_as_in_turn(training, **tolerances):
    """Three networks in a stack, two of one seed, are those that are trained one by one."""
    x, labels = records(3, 6)
    together = fit_stack(x, labels, INFO, training, seeds=(7, 8, 7))
    for r, seed in enumerate((7, 8, 7)):
        alone = fit(x[r], labels[r], INFO, training, seed=seed)
        for own, other in zip(together[r].parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(own, other, **tolerances)
    assert not torch.equal(together[0].head.weight, together[2].head.weight)  # of other records


@pytest.mark.parametrize("network", IMAGES)
def test_each_network_sees_its_own_records_and_gradient(network):
    networks = [build(parse_network(network), INFO, seed=seed) for seed in (1, 2, 3)]
    x = records(3, 4)[0].flatten(0, 1).requires_grad_(True)
    stack = Stack(networks)
    together = stack(x)
    apart = torch.cat([one(part) for one, part in zip(networks, x.split(4), strict=True)])
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(
        torch.autograd.grad(together.square().sum(), x)[0],
        torch.autograd.grad(apart.square().sum(), x)[0],
    )
    for own, again in zip(networks, stack.networks(), strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(own.parameters(), again.parameters(), strict=True)
        )
        assert not any(one.requires_grad for one in again.parameters())


@pytest.mark.parametrize("batch", [256, 4], ids=["whole sets", "batches"])
@pytest.mark.parametrize("augmentation", ["none", "dsa"])
@pytest.mark.parametrize("network", IMAGES)
def test_trainings_side_by_side_are_the_trainings_in_turn(network, augmentation, batch):
    overrides = {"network": network, "epochs": 5, "augmentation": augmentation, "batch": batch}
    training = Fast(**overrides).resolve(INFO, Threat(eps=0.1))
    assert_as_in_turn(training, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("batch", [256, 4], ids=["whole sets", "batches"])
@pytest.mark.parametrize("augmentation", ["none", "dsa"])
def test_trainings_under_attack_are_those_in_turn(augmentation, batch):
    """Each network is attacked from its own random start, and what it sees is augmented alike."""
    overrides = {"epochs": 3, "augmentation": augmentation, "batch": batch}
    attack = PgdCe(steps=2, random_start=True)
    training = Fast(network="convnet2-w4", attack=attack, **overrides)
    training = training.resolve(INFO, Threat(eps=0.1))
    assert_as_in_turn(training, atol=2e-4, rtol=2e-3)


def test_an_attack_that_chooses_its_records_allows_no_stack():
    training = Fast(network="mlp1-w4", attack=Square(steps=2)).resolve(INFO, Threat(eps=0.1))
    assert not may_be_stacked(training.attack)
    with pytest.raises(ValueError, match="in turn"):
        fit_stack(*records(2, 3), INFO, training, seeds=(1, 2))
