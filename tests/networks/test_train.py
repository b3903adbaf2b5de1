from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from moc.attacks.threat import Threat
from moc.data.decoder import Decoder
from moc.data.synthetic import SyntheticSet, one_hot
from moc.errors import StudyError
from moc.evaluate.baselines import select
from moc.evaluate.protocols.base import ADVERSARIAL
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import Robustness, correct
from moc.evaluate.suites import FastSuite
from moc.networks.network import build
from moc.networks.train import fit, train
from moc.privacy.held_out import reference_records
from moc.privacy.ledger import Ledger


@pytest.fixture(scope="module")
def records(digits):
    ledger = Ledger(None)
    ledger.own("all", digits.split([len(digits)], seed=0)[0])
    return reference_records(ledger, "all")


@pytest.fixture(scope="module")
def info(digits):
    return digits.info


@pytest.fixture(scope="module")
def few(records):
    x, y = records
    return x[:30], y[:30]


def protocol_of(info, **overrides):
    short = {"network": "convnet2-w16", "epochs": 5, "augmentation": "none", "lr": 0.05}
    return Fast(**{**short, **overrides}).resolve(info, Threat(eps=0.1))


def weights(network):
    return torch.cat([parameter.flatten() for parameter in network.parameters()])


@pytest.mark.parametrize(
    "overrides", [{}, {"batch": 8}, {"augmentation": "dsa"}, {"attack": ADVERSARIAL}], ids=str
)
def test_the_seed_decides_everything(few, info, overrides):
    x, y = few
    protocol = protocol_of(info, **overrides)
    torch.manual_seed(1)
    first = weights(fit(x, y, info, protocol, seed=3))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, weights(fit(x, y, info, protocol, seed=3)))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, weights(fit(x, y, info, protocol, seed=4)))


@pytest.mark.parametrize("epochs", [1, 2, 3, 6, 7])
def test_training_is_plain_sgd_decayed_after_half_the_epochs(few, info, epochs):
    x, y = few
    labels = F.one_hot(y, 10) * 0.7 + 0.03
    protocol = protocol_of(info, epochs=epochs)
    network = build(protocol.network, info, seed=5).train()
    sgd = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(sgd, [epochs // 2 + 1])
    for _ in range(epochs):
        sgd.zero_grad()
        (-(labels * network(x).log_softmax(1)).sum(1).mean()).backward()
        sgd.step()
        schedule.step()
    found = fit(x, labels, info, protocol, seed=5)
    torch.testing.assert_close(weights(found), weights(network))


@pytest.mark.parametrize("batch", [8, 256])
def test_hard_labels_are_one_hot_rows(few, info, batch):
    x, y = few
    protocol = protocol_of(info, batch=batch, augmentation="dsa")
    hard = fit(x, y, info, protocol, seed=0)
    soft = fit(x, one_hot(y, 10), info, protocol, seed=0)
    torch.testing.assert_close(weights(soft), weights(hard))


@pytest.mark.parametrize("augmentation", ["none", "dsa"])
def test_adversarial_training_without_a_budget_is_plain_training(few, info, augmentation):
    x, y = few
    # One step: after it the seed of the attack has moved the generator of the draws.
    plain = protocol_of(info, augmentation=augmentation, epochs=1)
    attacked = plain.model_copy(update={"attack": ADVERSARIAL, "threat": Threat(eps=0.0)})
    assert torch.equal(
        weights(fit(x, y, info, plain, seed=0)), weights(fit(x, y, info, attacked, seed=0))
    )


def test_adversarial_training_is_sgd_on_frozen_attacks_of_the_current_network(few, info):
    """The oracle: one step of each epoch written out; the attack's seeds are the generator's."""
    x, y = few
    labels = F.one_hot(y, 10) * 0.7 + 0.03
    protocol = protocol_of(info, epochs=3, attack=ADVERSARIAL)
    generator = torch.Generator().manual_seed(5)
    network = build(protocol.network, info, seed=5).train()
    sgd = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(sgd, [2])
    for _ in range(3):
        seed = int(torch.randint(2**31, (), generator=generator))
        attacked = ADVERSARIAL(network, x, y, threat=protocol.threat, classes=10, seed=seed)
        assert (attacked - x).abs().max() > 0.09
        sgd.zero_grad()
        (-(labels * network(attacked).log_softmax(1)).sum(1).mean()).backward()
        sgd.step()
        schedule.step()
    found = fit(x, labels, info, protocol, seed=5)
    torch.testing.assert_close(weights(found), weights(network))
    assert not torch.allclose(
        weights(fit(x, labels, info, protocol_of(info, epochs=3), seed=5)),
        weights(network),
        atol=1e-3,
    )


def test_attacks_of_augmented_records_are_attacks_of_records_in_the_pixel_range(few, info):
    """DSA leaves [0, 1], which no attack accepts: what is attacked lies before it."""
    protocol = protocol_of(info, augmentation="dsa", attack=ADVERSARIAL, epochs=8)
    assert weights(fit(*few, info, protocol, seed=0)).isfinite().all()


def test_adversarial_training_on_real_digits_resists_more_than_plain_training(records, info):
    x, y = records
    synthetic = select("random", x[:1000], y[:1000], info, per_class=10, seed=0)
    robust = {}
    threat = Threat(eps=0.1)
    for attack in (None, ADVERSARIAL):
        training = Fast(network="convnet2-w16", attack=attack).resolve(info, threat)
        network = train(synthetic, training, seed=0)
        attacked = Robustness(model=network, suite=FastSuite(), threat=threat, classes=10, seed=0)
        robust[attack] = float(attacked.correct(x[1000:1200], y[1000:1200]).float().mean())
    assert robust[ADVERSARIAL] > robust[None] + 0.1


def test_an_epoch_is_one_pass_in_a_fresh_order(few, info, monkeypatch):
    x, _ = few
    seen = []

    def watch(logits, targets):
        seen.append(targets)
        return logits.sum() * 0

    monkeypatch.setattr(F, "cross_entropy", watch)
    fit(x, torch.arange(30), info, protocol_of(info, epochs=2, batch=12), seed=0)
    assert [len(targets) for targets in seen] == [12, 12, 6] * 2
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert torch.equal(first.sort().values, torch.arange(30))
    assert torch.equal(second.sort().values, torch.arange(30))
    assert not torch.equal(first, second)


def test_every_record_is_augmented_anew(few, info, monkeypatch):
    x, y = few[0][:1].expand(30, -1, -1, -1), few[1]
    seen = []
    forward = torch.nn.Flatten.forward
    monkeypatch.setattr(
        torch.nn.Flatten, "forward", lambda self, z: seen.append(z.detach()) or forward(self, z)
    )
    fit(x, y, info, protocol_of(info, network="linear", epochs=2, augmentation="dsa"), seed=0)
    assert len(torch.cat(seen).flatten(1).unique(dim=0)) > 45
    seen.clear()
    fit(x, y, info, protocol_of(info, network="linear", epochs=2), seed=0)
    torch.testing.assert_close(
        torch.cat(seen), ((x - info.mean[0]) / info.std[0]).repeat(2, 1, 1, 1)
    )


def test_the_network_is_frozen(few, info):
    network = fit(*few, info, protocol_of(info), seed=0)
    assert not any(module.training for module in network.modules())
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


def test_records_that_carry_gradients_get_none(few, info):
    x, y = few[0].clone().requires_grad_(), one_hot(few[1], 10).requires_grad_()
    fit(x, y, info, protocol_of(info), seed=0)
    assert x.grad is None
    assert y.grad is None


def test_a_set_is_decoded_first(few, info):
    x, y = few
    synthetic = SyntheticSet(
        info=info, x=x, labels=one_hot(y, 10), decoder=Decoder(multi_formation=2)
    )
    tiles, labels = synthetic.training_records()
    assert len(tiles) == 120
    protocol = protocol_of(info, batch=50)
    found = train(synthetic, protocol, seed=0)
    assert torch.equal(weights(found), weights(fit(tiles, labels, info, protocol, seed=0)))


def test_vectors_cannot_be_augmented(info):
    vectors = replace(info, shape=(64,))
    protocol = protocol_of(info, network="linear", augmentation="dsa")
    with pytest.raises(StudyError, match="needs images"):
        fit(torch.rand(4, 64), torch.arange(4), vectors, protocol, seed=0)


def test_ten_real_digits_a_class_teach_the_rest(records, info):
    x, y = records
    synthetic = select("random", x[:1000], y[:1000], info, per_class=10, seed=0)
    network = train(synthetic, Fast().resolve(info, Threat(eps=0.1)), seed=0)
    assert correct(network, x[1000:], y[1000:]).float().mean() > 0.9
