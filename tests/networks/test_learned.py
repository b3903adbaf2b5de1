"""Networks that learn from a set, kept at several ages, and the bank that they make."""

from __future__ import annotations

import torch

from moc.data.augment import Augmentation
from moc.data.declared import DataInfo
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.networks.learned import LearnedBank, LearnedSettings, train_aged
from moc.networks.train import SGD

IMAGES = DataInfo(name="toy", shape=(1, 8, 8), classes=("a", "b"), count=10)
VECTORS = DataInfo(name="toy", shape=(5,), classes=("a", "b"), count=10)
NETWORKS = (parse_network("convnet2-w8"), parse_network("mlp1-w12"))
SETTINGS = LearnedSettings(ages=(40, 5), batch=16, sgd=SGD(lr=0.05))


def lesson(info=IMAGES, n=40):
    """Records of two classes, of which one is brighter."""
    y = torch.arange(n) % 2
    x = torch.rand(n, *info.shape, generator=torch.Generator().manual_seed(1)) / 2
    return x + y.view(-1, *[1] * len(info.shape)) / 2, torch.eye(2)[y]


def kept(count, *, info=IMAGES, networks=NETWORKS, seed=3, **settings):
    chosen = SETTINGS.model_copy(update=settings)
    return train_aged(
        *lesson(info), info, networks=networks, count=count, settings=chosen, seed=seed
    )


def weights(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def learned_bank(networks, *, digest="a", **changes) -> LearnedBank:
    centre = lesson()[0]
    return LearnedBank(
        info=IMAGES,
        networks=NETWORKS[:1],
        seed=3,
        weights=tuple(networks),
        centre=centre,
        digest=digest,
        **changes,
    )


def test_every_training_gives_one_network_of_each_age_youngest_first():
    x, labels = lesson()
    networks = kept(5)
    widths = [network.features for network in networks]
    assert widths == [widths[0]] * 2 + [12] * 2 + widths[:1]
    losses = [float(torch.nn.functional.cross_entropy(one(x), labels)) for one in networks]
    assert losses[1] < losses[0]
    assert losses[3] < losses[2]
    assert not any(p.requires_grad for one in networks for p in one.parameters())


def test_a_younger_network_is_the_same_training_stopped_earlier():
    both, alone = kept(2), kept(1, ages=(5,))
    assert torch.equal(weights(both[0]), weights(alone[0]))


def test_seeds_fix_the_networks_and_trainings_differ():
    first, again, other = (
        kept(3, networks=NETWORKS[:1]),
        kept(3, networks=NETWORKS[:1]),
        kept(1, seed=4),
    )
    assert all(map(torch.equal, map(weights, first), map(weights, again)))
    assert not torch.equal(weights(first[0]), weights(first[2]))
    assert not torch.equal(weights(first[0]), weights(other[0]))


def test_vectors_are_learned_without_augmentation():
    (network,) = kept(1, info=VECTORS, networks=NETWORKS[1:])
    assert network(lesson(VECTORS)[0]).shape == (40, 2)


def test_members_are_the_given_networks_centred_by_the_records_that_all_know():
    networks = kept(2, networks=NETWORKS[:1])
    bank = learned_bank(networks, augmentation=Augmentation.dsa(False), width=4)
    for k, network in enumerate(networks):
        member = bank.member(k)
        assert torch.equal(weights(member.network), weights(network))
        assert torch.equal(member.centre, network.embed(bank.centre).mean(0))
        assert bank.fresh(k).network is not bank.fresh(k).network, "a copy of one's own"


def test_augmentation_and_projection_are_those_of_random_networks():
    changes = {"augmentation": Augmentation.dsa(False), "width": 4}
    random = Bank(info=IMAGES, networks=NETWORKS[:1], seed=3, **changes).member(1)
    learned = learned_bank(kept(2, networks=NETWORKS[:1]), **changes).member(1)
    assert torch.equal(learned.projection, random.projection)
    x = lesson()[0]
    assert torch.equal(learned.drawn(x), random.drawn(x))


def test_banks_of_other_networks_are_others_in_the_cache_and_in_words():
    one = learned_bank(kept(1, networks=NETWORKS[:1]))
    other = learned_bank(kept(1, networks=NETWORKS[:1], seed=4), digest="b")
    assert not torch.equal(weights(one.member(0).network), weights(other.member(0).network))
    assert one.describe() != other.describe()
