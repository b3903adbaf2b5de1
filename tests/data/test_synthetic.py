from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from moc.data import DataInfo, Decoder, SyntheticSet, balanced_labels, one_hot
from moc.data.synthetic import _signs, balanced_index
from moc.errors import DataError

INFO = DataInfo(name="toy", shape=(1, 8, 8), classes=("a", "b", "c"), count=100)
FIRST_SIGNS = [
    -1,
    -1,
    1,
    -1,
    1,
    1,
    -1,
    1,
    -1,
    -1,
    1,
    1,
]  # of a fresh cache; sets that are stored today must decode alike tomorrow


def a_set(**change):
    fields = {"x": torch.rand(6, 1, 8, 8), "labels": one_hot(balanced_labels(2, 3), 3)}
    return SyntheticSet(info=INFO, **{**fields, **change})


@given(
    lead=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    channels=st.sampled_from([1, 3]),
    side=st.integers(4, 28),
    factor=st.integers(1, 3),
)
def test_tiles_have_the_shape_of_records(lead, channels, side, factor):
    x = torch.rand(*lead, channels, side, side)
    assert Decoder(factor=factor)(x).shape == (*lead, factor**2, channels, side, side)


@pytest.mark.parametrize("shape", [(5, 2, 8, 8), (3, 5, 2, 8, 8), (5, 7), (3, 5, 7)])
def test_factor_one_only_adds_an_axis_of_copies(shape):
    x = torch.rand(shape)
    axis = 2 if shape[0] == 3 else 1
    assert torch.equal(Decoder()(x), x.unsqueeze(axis))


def test_each_tile_is_an_enlarged_quarter_in_reading_order():
    x = torch.rand(4, 3, 8, 8)
    tiles = Decoder(factor=2)(x)
    quarters = [x[..., :4, :4], x[..., :4, 4:], x[..., 4:, :4], x[..., 4:, 4:]]
    for k, quarter in enumerate(quarters):
        expected = F.interpolate(quarter, size=(8, 8), mode="bilinear", align_corners=False)
        assert torch.allclose(tiles[:, k], expected)


@given(factor=st.integers(1, 3), side=st.integers(5, 9))
def test_decoding_keeps_flat_images_flat(factor, side):
    tiles = Decoder(factor=factor)(torch.full((2, 1, side, side), 0.3))
    assert torch.allclose(tiles, torch.tensor(0.3))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_gradients_reach_every_stored_pixel(factor):
    x = torch.rand(2, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Decoder(factor=factor), (x,))
    (gradient,) = torch.autograd.grad(Decoder(factor=factor)(x).sum(), x)
    assert (gradient > 0).all()


def test_vectors_cannot_be_cut_into_tiles():
    with pytest.raises(DataError, match="needs images"):
        Decoder(factor=2)(torch.rand(5, 7))


# Copies


@pytest.mark.parametrize("shape", [(5, 2, 8, 8), (3, 5, 2, 8, 8), (5, 7), (3, 5, 7)])
def test_the_first_copy_is_as_it_was_and_the_others_move_every_pixel_by_the_noise(shape):
    x = 0.3 + 0.4 * torch.rand(shape)
    axis = 2 if shape[0] == 3 else 1
    plain, *noisy = Decoder(copies=4, noise=0.25)(x).unbind(axis)
    assert torch.equal(plain, x)
    for copy in noisy:
        torch.testing.assert_close((copy - x).abs(), torch.full(shape, 0.25))
    up = torch.stack([copy > x for copy in noisy]).float()
    assert 0.3 < float(up.mean()) < 0.7
    assert not torch.equal(noisy[0], noisy[1])


@given(factor=st.integers(1, 2), copies=st.integers(2, 4), noise=st.floats(0.01, 1))
def test_copies_of_tiles_stand_in_a_row_and_stay_images(factor, copies, noise):
    x = torch.rand(4, 1, 8, 8)
    decoder = Decoder(factor=factor, copies=copies, noise=noise)
    decoded = decoder(x)
    assert decoded.shape == (4, decoder.count, 1, 8, 8)
    assert torch.equal(decoded[:, ::copies], Decoder(factor=factor)(x))
    assert float(decoded.min()) >= 0
    assert float(decoded.max()) <= 1


def test_the_noise_is_the_same_for_everybody_and_every_set_of_a_batch():
    decoder = Decoder(copies=3, noise=0.2)
    x = torch.rand(2, 5, 1, 8, 8)
    together = decoder(x)
    torch.manual_seed(1)
    _signs.cache_clear()
    assert torch.equal(together[1], decoder(x[1]))
    assert _signs(2, (3, 1, 2)).flatten().tolist() == FIRST_SIGNS


def test_gradients_go_through_copies():
    x = 0.3 + 0.4 * torch.rand(2, 1, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(Decoder(factor=2, copies=2, noise=0.2), (x.requires_grad_(),))


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("factor", [1, 2])
def test_training_records_carry_the_label_of_what_they_are_decoded_from(factor, copies):
    labels = torch.eye(6)[:, :3] * 0.6 + 0.4 / 3
    labels = labels / labels.sum(1, keepdim=True)
    flat = torch.linspace(0, 1, 6).reshape(6, 1, 1, 1).expand(6, 1, 8, 8)
    decoder = Decoder(factor=factor, copies=copies, noise=0.05)
    synthetic = a_set(decoder=decoder, x=flat, labels=labels)
    x, y = synthetic.training_records()
    assert len(x) == len(y) == 6 * factor**2 * copies
    stored = (x.mean((1, 2, 3)) * 5).round().long()
    assert torch.equal(y, labels[stored])
    assert len(synthetic) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.rand(6, 64)}, r"records \(1, 8, 8\) expected, found \(64,\)"),
        ({"x": torch.rand(5, 1, 8, 8)}, r"Labels of shape \(5, 3\) expected"),
        ({"labels": torch.ones(6)}, r"Labels of shape \(6, 3\) expected"),
        ({"labels": torch.ones(6, 3)}, "sum to one"),
        ({"labels": torch.full((6, 3), torch.nan)}, "sum to one"),
        ({"x": torch.rand(6, 1, 8, 8) + 1}, r"lie in \[0, 1\]"),
        ({"x": torch.rand(6, 1, 8, 8) - 1}, r"lie in \[0, 1\]"),
        ({"x": torch.full((6, 1, 8, 8), torch.nan)}, "finite"),
        ({"x": torch.rand(0, 1, 8, 8), "labels": torch.ones(0, 3)}, "at least one record"),
    ],
)
def test_what_is_no_set_is_refused_in_one_sentence(change, message):
    with pytest.raises(DataError, match=message):
        a_set(**change)


def test_balanced_labels_are_in_class_order():
    assert balanced_labels(2, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert one_hot(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


@given(
    counts=st.lists(st.integers(1, 6), min_size=3, max_size=3),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_balanced_places_are_of_the_wanted_classes_and_never_twice_the_same(counts, seed, data):
    there = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    there = there[torch.randperm(len(there), generator=torch.Generator().manual_seed(seed))]
    wanted = [k for k, n in enumerate(counts) for _ in range(data.draw(st.integers(0, n)))]
    y = torch.tensor(wanted, dtype=torch.int64)
    index = balanced_index(there, y, INFO.classes, seed=seed)
    assert torch.equal(there[index], y)
    assert len(set(index.tolist())) == len(y)
    assert torch.equal(index, balanced_index(there, y, INFO.classes, seed=seed))
    with pytest.raises(DataError, match=f"Class 'b' has {counts[1]} records"):
        balanced_index(there, torch.ones(7, dtype=torch.int64), INFO.classes, seed=seed)
