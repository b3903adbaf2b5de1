from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from moc.data.declared import DataInfo
from moc.errors import StudyError
from moc.networks.architectures import ARCHITECTURES, default_network, parse_network
from moc.networks.architectures.convnet import ConvNet
from moc.networks.network import Ensembles, build, computing_in, copied

SMALL = DataInfo(name="small", shape=(1, 8, 8), classes=("a", "b", "c"), count=9)
VECTORS = DataInfo(name="vectors", shape=(7,), classes=("a", "b"), count=9)
NAMES = [
    "convnet3-w16",
    "convnet2-w8-plain",
    "convnet2-w8-half",
    "resnet8-w8",
    "mlp2-w16",
    "linear",
]
HALF = st.sampled_from(["", "-half"])


def records(n, info=SMALL, seed=0):
    return torch.rand(n, *info.shape, generator=torch.Generator().manual_seed(seed))


def weights(name, seed, info=SMALL):
    network = build(parse_network(name), info, seed=seed)
    return torch.cat([parameter.flatten() for parameter in network.parameters()])


@given(
    st.one_of(
        st.just("linear"),
        st.builds("mlp{}-w{}{}".format, st.integers(1, 9), st.integers(1, 999), HALF),
        st.builds("resnet{}-w{}".format, st.sampled_from([8, 14, 20]), st.integers(1, 999)),
        st.builds(
            "convnet{}-w{}{}{}".format,
            st.integers(1, 9),
            st.integers(1, 999),
            st.sampled_from(["", "-plain"]),
            HALF,
        ),
    )
)
def test_parsing_inverts_naming(name):
    spec = parse_network(name)
    assert spec.name == name
    assert parse_network(spec.name) == spec


class Foreign(nn.Module):
    """Somebody else's, with a layer that is in no dictionary of modules."""

    def __init__(self):
        super().__init__()
        self.hidden = (nn.Linear(7, 7),)

    def forward(self, x):
        return self.hidden[0](x)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_of_a_network_is_what_a_deep_copy_is(name):
    network = build(parse_network(name), VECTORS if name[:3] in ("mlp", "lin") else SMALL, seed=0)
    found, expected = copied(network), copy.deepcopy(network)
    assert repr(found) == repr(expected)
    for own, other in zip(found.modules(), expected.modules(), strict=True):
        assert vars(own).keys() == vars(other).keys()
    for key, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)
    places = [{one.data_ptr() for one in net.state_dict().values()} for net in (found, network)]
    assert places[0].isdisjoint(places[1])
    next(found.children()).register_forward_hook(print)
    assert not any(one._forward_hooks for one in network.modules())


def test_a_copy_shares_what_was_shared_and_nothing_of_anybody_elses():
    layer = nn.Linear(7, 7)
    tied = nn.Linear(7, 7)
    tied.weight = layer.weight
    network = nn.Sequential(layer, tied, layer, Foreign(), nn.Identity())
    found = copied(network)
    assert found[0] is found[2] is not layer
    assert found[0].weight is found[1].weight is not layer.weight
    assert found[3].hidden[0] is not network[3].hidden[0]
    assert torch.equal(found(x := torch.rand(2, 7)), network(x))


def test_every_architecture_is_tested():
    assert {parse_network(name).kind for name in NAMES} == set(ARCHITECTURES.parts)


@pytest.mark.parametrize("name", NAMES)
def test_a_table_says_what_the_short_name_says(name):
    architecture = parse_network(name)
    assert ARCHITECTURES.make(architecture.model_dump()) == architecture


def test_no_table_says_what_no_name_can_say():
    with pytest.raises(StudyError, match="depth"):
        ARCHITECTURES.make({"kind": "resnet", "depth": 10})


@pytest.mark.parametrize(
    ("shape", "name"),
    [((7,), "mlp2-w128"), ((1, 8, 8), "convnet2-w32"), ((3, 28, 28), "convnet3-w32")],
)
def test_the_light_network_fits_the_records(shape, name):
    assert default_network(replace(SMALL, shape=shape)).name == name


def test_the_default_is_the_network_of_the_field():
    assert ConvNet() == parse_network("convnet3-w128")


@pytest.mark.parametrize(
    "text",
    [
        *("resnet18-w16", "resnet2-w16", "resnet8-w16-plain", "mlp2-w8-plain"),
        *("", "resnet18", "convnet-w8", "convnet3", "convnet3-w", "convnet0-w8", "convnet3-w0"),
        *("convnet3-w8-batch", "convnet3-w²", "mlp2-wide", "linear3", "convnet3-w8 "),
    ],
)
def test_other_names_are_refused(text):
    with pytest.raises(StudyError, match="A network such as"):
        parse_network(text)


def test_the_network_of_the_field_has_its_published_size():
    info = replace(SMALL, shape=(1, 28, 28), classes=tuple("0123456789"))
    network = build(ConvNet(), info, seed=0)
    assert network.features == 2048
    assert network.embed(records(2, info)).shape == (2, 2048)
    assert network(records(2, info)).shape == (2, 10)
    # Three convolutions, their norms, the head: 317706, as published for MNIST.
    convolutions = (9 + 1) * 128 + 2 * (128 * 9 + 1) * 128
    expected = convolutions + 3 * 2 * 128 + (2048 + 1) * 10
    assert sum(p.numel() for p in network.parameters()) == expected == 317_706


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_the_weights(name):
    before = torch.get_rng_state()
    first = weights(name, 1)
    torch.rand(3)
    assert torch.equal(first, weights(name, 1))
    assert not torch.equal(first, weights(name, 2))
    torch.set_rng_state(before)
    weights(name, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_law_of_the_weights_is_that_of_pytorch():
    spec = parse_network("mlp1-w400")
    ours = build(spec, SMALL, seed=0).body[1]
    theirs = torch.nn.Linear(64, 400)
    assert abs(ours.weight.std() / theirs.weight.std() - 1) < 0.03
    assert abs(ours.weight).max() <= 1 / 8
    assert abs(ours.bias).max() <= 1 / 8
    assert ours.bias.std() > 0.06


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_embedded_as_if_it_were_alone(name):
    network = build(parse_network(name), SMALL, seed=0)
    x = records(6)
    together = network.embed(x)
    alone = torch.cat([network.embed(x[k : k + 1]) for k in range(6)])
    others = network.embed(torch.cat([x[:3], 100 * x[3:]]))[:3]
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together[:3], others, atol=1e-5)
    assert together.shape == (6, network.features)


@pytest.mark.parametrize("name", NAMES)
def test_features_in_bfloat16_agree_to_two_percent_and_are_float32(name):
    network, x = build(parse_network(name), SMALL, seed=0), records(32)
    plain = network.embed(x)
    with computing_in("bfloat16"):
        fast = network.embed(x)
    assert fast.dtype == plain.dtype == torch.float32
    assert (fast - plain).norm() < 0.02 * plain.norm()
    assert torch.equal(fast, plain) == (name == "linear"), "that one has no layer to compute"
    assert torch.equal(network.embed(x), plain), "the block is over"


@pytest.mark.parametrize("name", NAMES)
def test_normalisation_happens_inside(name):
    spec = parse_network(name)
    inside = build(spec, replace(SMALL, mean=(0.3,), std=(0.4,)), seed=0)
    outside = build(spec, replace(SMALL, mean=(0.0,), std=(1.0,)), seed=0)
    x = records(4)
    assert torch.allclose(inside(x), outside((x - 0.3) / 0.4), atol=1e-5)
    assert not torch.allclose(inside(x), outside(x), atol=1e-2)


def test_normalisation_is_by_channel():
    info = replace(SMALL, shape=(3, 8, 8), mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    x = torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1).expand(2, 3, 8, 8)
    embedded = build(parse_network("linear"), info, seed=0).embed(x + 1)
    expected = torch.tensor([1.0, 0.5, 0.25]).repeat_interleave(64).expand(2, -1)
    assert torch.allclose(embedded, expected, atol=1e-6)


@pytest.mark.parametrize("depth", range(1, 7))
def test_features_of_any_depth_tell_small_images_apart(depth):
    network = build(ConvNet(width=16, depth=depth), SMALL, seed=0)
    a, b = network.embed(records(2))
    assert network.features == len(a)
    assert (a - b).norm() > 1e-3 * a.norm()
    assert a.norm() > 1e-2


@pytest.mark.parametrize("name", ["mlp2-w16", "linear"])
def test_vectors_go_through_networks_without_convolutions(name):
    network = build(parse_network(name), VECTORS, seed=0)
    assert network(records(5, VECTORS)).shape == (5, 2)


@pytest.mark.parametrize("name", ["convnet3-w8", "resnet8-w8"])
def test_convolutions_of_vectors_are_refused(name):
    with pytest.raises(StudyError, match=r"needs images.*Use an mlp"):
        build(parse_network(name), VECTORS, seed=0)


@pytest.mark.parametrize(("depth", "expected"), [(20, 269_722), (14, 172_506)])
def test_the_resnet_has_its_known_size(depth, expected):
    """0.27 million weights at depth 20, as published for CIFAR-10 (arXiv 1512.03385, table 6)."""
    info = replace(SMALL, shape=(3, 32, 32), classes=tuple("0123456789"))
    network = build(parse_network(f"resnet{depth}-w16"), info, seed=0)
    shortcuts = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64  # the paper's have no weights on CIFAR-10
    assert sum(p.numel() for p in network.parameters()) - shortcuts == expected
    assert network.features == 64


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (1, 5, 7), (2, 1, 3)])
def test_resnets_take_images_of_any_size(shape):
    info = replace(SMALL, shape=shape)
    a, b = build(parse_network("resnet14-w6"), info, seed=0).embed(records(2, info))
    assert len(a) == 24
    assert (a - b).norm() > 1e-3 * a.norm() > 0


def test_a_residual_block_without_weights_passes_its_input_on():
    network = build(parse_network("resnet8-w8"), SMALL, seed=0)
    block = network.body[3]
    for parameter in block.inner.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.rand(2, 8, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("name", ["convnet2-w8-half", "mlp2-w8-half"])
def test_half_networks_see_block_averages_only(name):
    info = replace(SMALL, shape=(1, 12, 12))
    network = build(parse_network(name), info, seed=0)
    x = records(4, info)
    blurred = torch.nn.functional.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(network(x), network(blurred))
    assert not torch.allclose(network(x), network(records(4, info, seed=1)))


def test_vectors_cannot_be_halved():
    with pytest.raises(StudyError, match="needs images"):
        build(parse_network("mlp2-w8-half"), VECTORS, seed=0)


def test_each_set_asks_the_ensemble_of_its_own_rung():
    first, second, third = (build(parse_network("linear"), SMALL, seed=s) for s in range(3))
    x = torch.stack([records(4, seed=s) for s in range(3)])
    found = Ensembles([[first, second], [third]])(x, (1, 0, 5))
    torch.testing.assert_close(found[0], third(x[0]).softmax(-1))
    torch.testing.assert_close(found[2], third(x[2]).softmax(-1))
    both = (first(x[1]).softmax(-1) + second(x[1]).softmax(-1)) / 2
    torch.testing.assert_close(found[1], both)
    assert not found.requires_grad
