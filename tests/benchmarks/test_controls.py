from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from controls import inverted, robust_reference, smoothed, static_adversarial
from hypothesis import given, settings
from hypothesis import strategies as st

from moc.attacks.threat import Threat
from moc.data.decoder import Decoder
from moc.data.synthetic import SyntheticSet, one_hot
from moc.errors import StudyError
from moc.evaluate.baselines import select
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import Robustness, correct
from moc.evaluate.suites import StandardSuite
from moc.evidence.proxy import Proxy
from moc.networks.train import fit, train
from moc.privacy.held_out import reference_records
from moc.privacy.ledger import Ledger

THREAT = Threat(eps=0.1)
THREATS = pytest.mark.parametrize(
    "threat", [THREAT, Threat(norm="L2", eps=0.5)], ids=lambda threat: threat.norm
)


@pytest.fixture(scope="module")
def records(digits):
    """T, test records, and what is public about them."""
    ledger = Ledger(None)
    parts = digits.split([1200, 300], seed=0)
    for name, part in zip(("train", "test"), parts, strict=True):
        ledger.own(name, part)
    return reference_records(ledger, "train"), reference_records(ledger, "test"), parts[0].info


@pytest.fixture(scope="module")
def real(records):
    (x, y), _, info = records
    return select("random", x, y, info, per_class=3, seed=0)


@pytest.fixture(scope="module")
def training(records):
    return Fast(network="convnet2-w16").resolve(records[2], THREAT)


@pytest.fixture(scope="module")
def network(records, training):
    """Trained on T for a moment: enough for gradients that mean something."""
    (x, y), _, info = records
    return fit(x, y, info, training.model_copy(update={"epochs": 3}), seed=7)


def vectors(real):
    """The same records as feature vectors, and a network for them."""
    info = replace(real.info, shape=(64,))
    flat = SyntheticSet(info=info, x=real.x.flatten(1), labels=real.labels)
    return flat, train(flat, Fast(epochs=20).resolve(info, THREAT), seed=0)


# Smoothed labels


@settings(max_examples=20)
@given(top=st.floats(0.11, 1.0))
def test_smoothing_changes_labels_alone_and_favours_no_wrong_class(real, top):
    found = smoothed(real, top=top)
    assert found.x is real.x
    assert torch.equal(found.labels.argmax(1), real.labels.argmax(1))
    torch.testing.assert_close(found.labels.sum(1), torch.ones(len(real)))
    torch.testing.assert_close(found.labels.amax(1), torch.full((len(real),), top))
    wrong = found.labels[real.labels == 0]
    torch.testing.assert_close(wrong, torch.full_like(wrong, (1 - top) / 9))


@pytest.mark.parametrize("top", [0.1, 0.0, 1.1, float("nan")])
def test_smoothing_that_hides_the_class_is_refused(real, top):
    with pytest.raises(StudyError, match="expected for `top`"):
        smoothed(real, top=top)


def test_soft_labels_are_not_smoothed_again(real):
    with pytest.raises(StudyError, match="hard labels"):
        smoothed(smoothed(real))


# Static adversarial images


@THREATS
def test_static_images_are_adversarial_within_the_budget(real, network, threat):
    found = static_adversarial(real, network, threat=threat, seed=0)
    size = threat.size(found.x - real.x)
    assert size.max() <= threat.eps + 1e-6
    assert size.median() > 0.9 * threat.eps
    assert torch.equal(found.labels, real.labels)
    y = real.labels.argmax(1)
    assert correct(network, found.x, y).sum() < correct(network, real.x, y).sum() - 8


# Robust features


def test_inversion_comes_near_the_embedding_from_another_image(real, network):
    def gap(x):
        return (network.embed(x) - network.embed(real.x)).norm(dim=1)

    start, found = inverted(real, network, seed=0, steps=1, lr=0.0), inverted(real, network, seed=0)
    assert sorted(start.x.flatten(1).tolist()) == sorted(real.x.flatten(1).tolist())
    assert (start.x != real.x).flatten(1).any(1).all()
    assert (gap(found.x) < 0.5 * gap(start.x)).float().mean() > 0.95
    assert gap(found.x).mean() < 0.15 * gap(start.x).mean()
    assert (found.x - real.x).abs().mean() > 0.1, "the features are the same, the images are not"
    assert torch.equal(found.labels, real.labels)


def test_inversion_through_an_identity_gives_the_images_back(real):
    """The oracle: of an embedding that keeps every pixel the only inverse is the record."""
    linear = Fast(network="linear", epochs=1, augmentation="none").resolve(real.info, THREAT)
    found = inverted(real, train(real, linear, seed=0), seed=0)
    assert (found.x - real.x).abs().mean() < 0.02


# What both have in common


def attacked(real, network, seed):
    return static_adversarial(real, network, threat=THREAT, seed=seed)


def rebuilt(real, network, seed):
    return inverted(real, network, seed=seed, steps=5)


MAKERS = pytest.mark.parametrize("make", [attacked, rebuilt])


@MAKERS
def test_the_seed_decides_everything(real, network, make):
    torch.manual_seed(1)
    first = make(real, network, 3).x
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, make(real, network, 3).x)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, make(real, network, 4).x)


@MAKERS
def test_the_network_is_left_as_it_was(real, network, make):
    network.train().requires_grad_(True)
    try:
        make(real, network, 0)
        assert network.training
        assert all(p.requires_grad and p.grad is None for p in network.parameters())
    finally:
        network.eval().requires_grad_(False)


@MAKERS
def test_vectors_have_controls_too(real, make):
    found = make(*vectors(real), 0)
    assert found.x.shape == (30, 64)


@MAKERS
def test_sets_that_are_decoded_are_refused(real, network, make):
    with pytest.raises(StudyError, match="decodes into 4"):
        make(replace(real, decoder=Decoder(multi_formation=2)), network, 0)


# The reference


def test_the_reference_has_the_protocols_architecture_and_learns(records, training):
    (x, y), (xt, yt), info = records
    source = Proxy(SyntheticSet(info=info, x=x, labels=one_hot(y, 10)))
    steps = []
    network = robust_reference(
        source,
        training,
        threat=THREAT,
        steps=60,
        seed=0,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert network.features == 16 * 4
    assert correct(network, xt, yt).float().mean() > 0.8
    assert steps[-1] == (60, 60)


# Behaviour


@pytest.mark.slow
def test_controls_score_as_they_are_known_to(records, training):
    """No negative control beats real records, and the reference beats them all by far."""
    (x, y), (xt, yt), info = records
    source = Proxy(SyntheticSet(info=info, x=x, labels=one_hot(y, 10)))
    reference = robust_reference(source, training, threat=THREAT, steps=300, seed=0)

    def robust(network):
        attacked = Robustness(
            model=network, suite=StandardSuite(), threat=THREAT, classes=10, seed=0
        )
        return float(attacked.correct(xt, yt).float().mean())

    def mean_robust(make):
        subsets = [select("random", x, y, info, per_class=10, seed=seed) for seed in range(4)]
        networks = [train(make(s, k), training, seed=k) for k, s in enumerate(subsets)]
        return sum(map(robust, networks)) / 4

    floor = mean_robust(lambda subset, _: subset)
    controls = {
        "smoothed": mean_robust(lambda subset, _: smoothed(subset)),
        "static": mean_robust(
            lambda subset, seed: static_adversarial(subset, reference, threat=THREAT, seed=seed)
        ),
        "inverted": mean_robust(lambda subset, seed: inverted(subset, reference, seed=seed)),
    }
    assert robust(reference) > 0.65, robust(reference)
    assert max(controls.values()) < floor + 0.05, (floor, controls)
    assert max(floor, *controls.values()) < 0.45, (floor, controls)
