from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.attacks import Threat
from moc.data import DataInfo, one_hot
from moc.errors import StudyError
from moc.evaluate import PROTOCOLS, fit, make_protocol
from moc.evaluate.robust import FAST, PRIVATE, STANDARD
from moc.networks import NetworkSpec

THREAT = Threat(eps=0.1)
SHAPES = {"tiny": (1, 8, 8), "small": (3, 16, 12), "mnist": (1, 28, 28), "vector": (5,)}


def info_of(shape):
    return DataInfo(name="any", shape=shape, classes=("a", "b", "c"), count=6)


@given(epochs=st.integers(1, 2000))
def test_the_rate_is_divided_by_ten_once_after_half_the_epochs(epochs):
    protocol = make_protocol("standard", info_of((1, 8, 8)), THREAT, epochs=epochs, lr=0.2)
    rates = [protocol.rate(epoch) for epoch in range(epochs)]
    full = min(epochs, epochs // 2 + 1)
    assert rates == pytest.approx([0.2] * full + [0.02] * (epochs - full))


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_protocol_trains_on_records_of_any_shape(name, shape):
    info = info_of(shape)
    protocol = make_protocol(name, info, THREAT, epochs=1)
    x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    network = fit(x, one_hot(torch.arange(6) % 3, 3), info, protocol, seed=0)
    assert network(x).shape == (6, 3)
    assert network(x).isfinite().all()


def test_the_standard_protocol_is_that_of_the_field():
    p = make_protocol("standard", info_of((1, 28, 28)), THREAT)
    assert p.network.name == "convnet3-w128"
    assert (p.lr, p.momentum, p.weight_decay) == (0.01, 0.9, 5e-4)
    assert (p.epochs, p.batch, p.augmentation) == (1000, 256, "dsa")
    assert p.suite is STANDARD


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
    p = make_protocol("fast", info_of(shape), THREAT)
    assert (p.network.name, p.augmentation, p.suite) == (network, augmentation, FAST)
    assert p.threat is THREAT


def test_fields_are_replaced_by_name():
    p = make_protocol("fast", info_of((5,)), THREAT, network="linear", epochs=7, suite=PRIVATE)
    assert p.network == NetworkSpec.parse("linear")
    assert (p.epochs, p.suite, p.name) == (7, PRIVATE, "fast")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"epoch": 3, "lrs": 1}, "found epoch, lrs"),
        ({"epochs": 0}, "at least 1 epoch"),
        ({"batch": 0}, "at least 1 record"),
        ({"lr": 0.0}, "learning rate above 0"),
        ({"lr": float("nan")}, "learning rate above 0"),
        ({"augmentation": "cutmix"}, "'dsa' or 'none' expected, found 'cutmix'"),
        ({"training": "free"}, "'plain' or 'adversarial' expected, found 'free'"),
        ({"network": "resnet"}, "'resnet'"),
    ],
)
def test_fields_that_do_not_fit_are_refused(overrides, words):
    with pytest.raises(StudyError, match=words):
        make_protocol("fast", info_of((1, 8, 8)), THREAT, **overrides)


def test_unknown_protocols_are_refused():
    with pytest.raises(StudyError, match="fast, standard expected, found 'quick'"):
        make_protocol("quick", info_of((1, 8, 8)), THREAT)


def test_the_description_names_what_was_done():
    text = make_protocol("standard", info_of((1, 28, 28)), Threat(norm="L2", eps=0.5)).describe()
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
    single = make_protocol("fast", info_of((5,)), THREAT, epochs=1).describe()
    assert "1 epoch of SGD (learning rate 0.03; " in single
    assert "unaugmented" in single


@pytest.mark.parametrize("name", PROTOCOLS)
def test_training_is_plain_unless_asked_for_and_then_described(name):
    protocol = make_protocol(name, info_of((1, 8, 8)), THREAT)
    assert protocol.training == "plain"
    assert "adversarial" not in protocol.describe()
    attacked = make_protocol(name, info_of((1, 8, 8)), THREAT, training="adversarial").describe()
    assert "adversarial training (every batch under pgd-ce-4 within the same budget)" in attacked
