"""Gradient matching against autograd, class by class and layer by layer."""

import pytest
import torch
from discrepancies.views import INFO, bank, sets, target, view_of
from hypothesis import given
from hypothesis import strategies as st

from moc.attacks.gradient import PgdMargin
from moc.attacks.threat import Threat
from moc.data.augment import Augmentation
from moc.data.declared import DataInfo
from moc.data.synthetic import balanced_labels, one_hot
from moc.discrepancies.adversarial import Adversarial
from moc.discrepancies.base import Loss
from moc.discrepancies.gradient import GradientMatching, class_gradients, record_gradients
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank, encode
from moc.networks.network import build

VECTORS = DataInfo(name="toy", shape=(5,), classes=("a", "b", "c"), count=60)


def weights(network):
    return [p for p in network.parameters() if p.dim() > 1]


def autograd(network, x, labels):
    """The gradient of the summed cross-entropy for every weight, as (units, inputs)."""
    for p in network.parameters():
        p.requires_grad_(True)
    loss = -(labels * network(x).log_softmax(1)).sum()
    found = torch.autograd.grad(loss, weights(network))
    network.requires_grad_(False)
    return [g.flatten(1) for g in found]


@given(
    name=st.sampled_from(["convnet1-w3", "convnet3-w4-plain", "mlp2-w6", "linear", "resnet8-w4"]),
    n=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_gradients_of_records_add_up_to_autograds(name, n, seed):
    network = build(parse_network(name), INFO, seed=seed).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 8, 8, generator=generator)
    labels = torch.rand(n, 3, generator=generator).softmax(1)
    single = record_gradients(network, x, labels)
    for one, whole in zip(single, autograd(network, x, labels), strict=True):
        assert one.shape[0] == n
        torch.testing.assert_close(one.sum(0), whole, rtol=1e-4, atol=1e-5)


def test_the_heads_gradient_is_the_error_times_the_features():
    network = build(parse_network("mlp1-w7"), VECTORS, seed=3).requires_grad_(False)
    x = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    labels = one_hot(torch.tensor([0, 2, 1, 1]), 3)
    error = network(x).softmax(1) - labels
    expected = error.unsqueeze(2) * network.embed(x).unsqueeze(1)
    torch.testing.assert_close(record_gradients(network, x, labels)[-1], expected)


def test_a_class_gets_its_share_of_soft_labels():
    member = bank().member(0)
    x, _ = sets(2)
    labels = torch.rand(2, x.shape[1], 3, generator=torch.Generator().manual_seed(1)).softmax(2)
    found = class_gradients(member, x, labels)
    for b, k in ((0, 2), (1, 0)):
        single = [
            autograd(member.network, x[b, i : i + 1], labels[b, i : i + 1])
            for i in range(x.shape[1])
        ]
        for layer, whole in enumerate(found):
            parts = [labels[b, i, k] * one[layer] for i, one in enumerate(single)]
            expected = torch.stack(parts).sum(0) / x.shape[1]
            torch.testing.assert_close(whole[b, k], expected, rtol=1e-3, atol=1e-6)


def test_a_set_that_is_the_data_matches_it():
    member = bank().member(0)
    x, labels = sets(1, per_class=4)
    encoded = encode(x, labels, member)
    same = view_of(member, x[0], labels[0])
    assert GradientMatching().value(encoded, same).item() == pytest.approx(0.0, abs=1e-5)
    assert GradientMatching().value(encoded, target(member)).item() > 0.01


@given(st.integers(0, 200))
def test_values_lie_in_zero_to_two(seed):
    member = bank().member(seed)
    x, labels = sets(2, seed=seed)
    values = GradientMatching().value(encode(x, labels, member), target(member, seed=seed + 1))
    assert (values >= 0).all()
    assert (values <= 2).all()


def test_the_gradient_in_the_images_against_finite_differences():
    spec = (parse_network("mlp1-w7"),)
    member = Bank(info=VECTORS, networks=spec, seed=1).member(0).double()
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(1, 9, 5, generator=generator).double()
    labels = one_hot(balanced_labels(3, 3), 3).double()
    x = torch.rand(1, 9, 5, generator=generator).double().requires_grad_(True)
    t = view_of(member, real[0], labels)

    def value(x):
        return GradientMatching().value(encode(x, labels[None], member), t)

    assert torch.autograd.gradcheck(value, (x,), eps=1e-6, atol=1e-5)


def test_a_network_and_its_hooks_are_left_as_they_were():
    member = bank().member(0)
    x, labels = sets(1)
    GradientMatching().value(encode(x.requires_grad_(True), labels, member), target(member))
    assert not any(m._forward_hooks for m in member.modules())
    assert not any(p.requires_grad for p in member.parameters())


def test_augmentation_is_siamese():
    augmented = Bank(
        info=INFO,
        networks=(parse_network("convnet2-w8"),),
        seed=1,
        augmentation=Augmentation.dsa(mirrored=False),
    )
    member = next(m for m in map(augmented.member, range(20)) if m.draw.warp is not None)
    x, labels = sets(1)
    encoded = encode(x, labels, member)
    same = view_of(member, x[0], labels[0])
    assert GradientMatching().value(encoded, same).item() == pytest.approx(0.0, abs=1e-5)
    plain = record_gradients(member.network, x[0], labels[0])
    drawn = class_gradients(member, x, labels)
    assert not torch.allclose(plain[0].mean(0), drawn[0].sum(1)[0], rtol=1e-2)


def test_the_adversarial_version_attacks_the_network_itself():
    member = bank().member(0)
    seen = []

    class Spy(GradientMatching):
        def value(self, encoded, view, /):
            seen.append(view.batch())
            return super().value(encoded, view)

    view, encoded = target(member, seed=3, n=20, rungs=(0, 0)), encode(*sets(2), member)
    loss: Loss = Adversarial(Spy(), attack=PgdMargin(steps=4), threat=Threat(eps=0.1), records=12)
    value = loss(encoded, view)
    ((attacked, labels),) = seen
    plain, _ = view.batch()
    assert attacked.shape == (1, 12, 1, 8, 8)
    assert (attacked - plain[:, :12]).abs().max() == pytest.approx(0.1, abs=1e-5)
    hurt = (member.logits(attacked[0]).log_softmax(1) * labels).sum(1)
    before = (member.logits(plain[0, :12]).log_softmax(1) * labels).sum(1)
    assert (hurt < before).all()
    expected = GradientMatching().value(encoded, view.of(attacked, labels))
    torch.testing.assert_close(value, expected)
    assert not torch.allclose(value, GradientMatching().value(encoded, view), rtol=1e-3)
