from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.attacks.threat import Threat
from moc.data.declared import DataInfo
from moc.data.synthetic import one_hot
from moc.errors import StudyError
from moc.evaluate.protocols import PROTOCOLS, describe
from moc.evaluate.protocols.base import ADVERSARIAL
from moc.evaluate.suites import FastSuite, StandardSuite
from moc.networks.train import fit

THREAT = Threat(eps=0.1)
SHAPES = {"tiny": (1, 8, 8), "small": (3, 16, 12), "mnist": (1, 28, 28), "vector": (5,)}


def info_of(shape):
    return DataInfo(name="any", shape=shape, classes=("a", "b", "c"), count=6)


def resolved(kind, shape, **settings):
    return PROTOCOLS.make({"kind": kind, **settings}).resolve(info_of(shape), THREAT)


@given(epochs=st.integers(1, 2000))
def test_the_rate_is_divided_by_ten_once_after_half_the_epochs(epochs):
    training = resolved("standard", (1, 8, 8), epochs=epochs)
    decayed = [training.decayed(epoch) for epoch in range(epochs)]
    full = min(epochs, epochs // 2 + 1)
    assert decayed == [False] * full + [True] * (epochs - full)


@pytest.mark.parametrize("kind", PROTOCOLS.parts)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_protocol_trains_on_records_of_any_shape(kind, shape):
    x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    labels = one_hot(torch.arange(6) % 3, 3)
    network = fit(x, labels, info_of(shape), resolved(kind, shape, epochs=1), seed=0)
    assert network(x).shape == (6, 3)
    assert network(x).isfinite().all()


def test_the_standard_protocol_is_that_of_the_field():
    training = resolved("standard", (1, 28, 28))
    assert training.network.name == "convnet3-w128"
    sgd = training.sgd
    assert (sgd.lr, sgd.momentum, sgd.weight_decay) == (0.01, 0.9, 5e-4)
    assert (training.epochs, training.batch, training.augmentation) == (1000, 256, "dsa")
    assert PROTOCOLS.make("standard").suite == StandardSuite()


@pytest.mark.parametrize(
    ("shape", "network", "augmentation"),
    [
        (SHAPES["tiny"], "convnet2-w32", "dsa"),
        (SHAPES["small"], "convnet2-w32", "dsa"),
        (SHAPES["mnist"], "convnet3-w32", "none"),
        (SHAPES["vector"], "mlp2-w128", "none"),
    ],
)
def test_the_fast_protocol_follows_the_record_shape(shape, network, augmentation):
    training = resolved("fast", shape)
    assert (training.network.name, training.augmentation) == (network, augmentation)
    assert PROTOCOLS.make("fast").suite == FastSuite()


def test_fields_are_replaced_by_name():
    training = resolved("fast", (5,), network="linear", epochs=7, lr=0.5)
    assert (training.network.name, training.epochs, training.sgd.lr) == ("linear", 7, 0.5)
    assert training.batch == resolved("fast", (5,)).batch


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epoch": 3}, "epoch"),
        ({"epochs": 0}, "epochs.*greater than 0"),
        ({"batch": 0}, "batch.*greater than 0"),
        ({"lr": 0.0}, "lr.*greater than 0"),
        ({"lr": float("nan")}, "lr.*finite"),
        ({"augmentation": "cutmix"}, "'dsa' or 'none'"),
        ({"attack": "free"}, "attack.*'pgd-ce'"),
        ({"network": "resnet"}, "'resnet'"),
    ],
)
def test_fields_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(StudyError, match=words):
        PROTOCOLS.make({"kind": "fast", **settings})


def test_unknown_protocols_are_refused():
    with pytest.raises(StudyError, match="'fast', 'standard'"):
        PROTOCOLS.make("quick")


def test_the_description_names_what_was_done():
    threat = Threat(norm="L2", eps=0.5)
    text = describe(resolved("standard", (1, 28, 28)), StandardSuite(), threat)
    for part in (
        "convnet3-w128",
        "1000 epochs",
        "learning rate 0.01, a tenth of it from epoch 502 on",
        "batches of 256",
        "DSA",
        "apgd-ce-30, apgd-t-20, square-500",
        "L2 0.5",
    ):
        assert part in text
    single = describe(resolved("fast", (5,), epochs=1), FastSuite(), threat)
    assert "1 epoch of SGD (learning rate 0.03; " in single
    assert "unaugmented" in single


@pytest.mark.parametrize("kind", PROTOCOLS.parts)
def test_training_is_plain_unless_asked_for_and_then_described(kind):
    plain = resolved(kind, (1, 8, 8))
    assert plain.attack is None
    assert "adversarial" not in describe(plain, FastSuite(), THREAT)
    attacked = describe(resolved(kind, (1, 8, 8), attack=ADVERSARIAL), FastSuite(), THREAT)
    assert "adversarial training (every batch under pgd-ce-4 within Linf 0.1)" in attacked
