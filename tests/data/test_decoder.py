from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from moc.data import Decoder
from moc.data.decoder import AS_STORED, _signs
from moc.errors import DataError

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


@given(
    lead=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    channels=st.sampled_from([1, 3]),
    side=st.integers(4, 28),
    factor=st.integers(1, 3),
)
def test_tiles_have_the_shape_of_records(lead, channels, side, factor):
    x = torch.rand(*lead, channels, side, side)
    assert Decoder(multi_formation=factor)(x).shape == (*lead, factor**2, channels, side, side)


@pytest.mark.parametrize("shape", [(5, 2, 8, 8), (3, 5, 2, 8, 8), (5, 7), (3, 5, 7)])
def test_factor_one_only_adds_an_axis_of_copies(shape):
    x = torch.rand(shape)
    axis = 2 if shape[0] == 3 else 1
    assert torch.equal(Decoder()(x), x.unsqueeze(axis))


def test_each_tile_is_an_enlarged_quarter_in_reading_order():
    x = torch.rand(4, 3, 8, 8)
    tiles = Decoder(multi_formation=2)(x)
    quarters = [x[..., :4, :4], x[..., :4, 4:], x[..., 4:, :4], x[..., 4:, 4:]]
    for k, quarter in enumerate(quarters):
        expected = F.interpolate(quarter, size=(8, 8), mode="bilinear", align_corners=False)
        assert torch.allclose(tiles[:, k], expected)


@given(factor=st.integers(1, 3), side=st.integers(5, 9))
def test_decoding_keeps_flat_images_flat(factor, side):
    tiles = Decoder(multi_formation=factor)(torch.full((2, 1, side, side), 0.3))
    assert torch.allclose(tiles, torch.tensor(0.3))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_gradients_reach_every_stored_pixel(factor):
    x = torch.rand(2, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Decoder(multi_formation=factor), (x,))
    (gradient,) = torch.autograd.grad(Decoder(multi_formation=factor)(x).sum(), x)
    assert (gradient > 0).all()


def test_vectors_cannot_be_cut_into_tiles():
    with pytest.raises(DataError, match="needs images"):
        Decoder(multi_formation=2)(torch.rand(5, 7))


# Copies


@pytest.mark.parametrize("shape", [(5, 2, 8, 8), (3, 5, 2, 8, 8), (5, 7), (3, 5, 7)])
def test_the_first_copy_is_as_it_was_and_the_others_move_every_pixel_by_the_noise(shape):
    x = 0.3 + 0.4 * torch.rand(shape)
    axis = 2 if shape[0] == 3 else 1
    plain, *noisy = Decoder(noise_copies=4, noise=0.25)(x).unbind(axis)
    assert torch.equal(plain, x)
    for copy in noisy:
        torch.testing.assert_close((copy - x).abs(), torch.full(shape, 0.25))
    up = torch.stack([copy > x for copy in noisy]).float()
    assert 0.3 < float(up.mean()) < 0.7
    assert not torch.equal(noisy[0], noisy[1])


@given(factor=st.integers(1, 2), copies=st.integers(2, 4), noise=st.floats(0.01, 1))
def test_copies_of_tiles_stand_in_a_row_and_stay_images(factor, copies, noise):
    x = torch.rand(4, 1, 8, 8)
    decoder = Decoder(multi_formation=factor, noise_copies=copies, noise=noise)
    decoded = decoder(x)
    assert decoded.shape == (4, decoder.count, 1, 8, 8)
    assert torch.equal(decoded[:, ::copies], Decoder(multi_formation=factor)(x))
    assert float(decoded.min()) >= 0
    assert float(decoded.max()) <= 1


def test_the_noise_is_the_same_for_everybody_and_every_set_of_a_batch():
    decoder = Decoder(noise_copies=3, noise=0.2)
    x = torch.rand(2, 5, 1, 8, 8)
    together = decoder(x)
    torch.manual_seed(1)
    _signs.cache_clear()
    assert torch.equal(together[1], decoder(x[1]))
    assert _signs(2, (3, 1, 2)).flatten().tolist() == FIRST_SIGNS


def test_gradients_go_through_copies():
    x = 0.3 + 0.4 * torch.rand(2, 1, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        Decoder(multi_formation=2, noise_copies=2, noise=0.2), (x.requires_grad_(),)
    )


@pytest.mark.parametrize("shape", [(2, 1, 2, 8), (2, 3, 8, 2)])
def test_images_smaller_than_the_factor_are_refused(shape):
    with pytest.raises(DataError, match="use a smaller factor"):
        Decoder(multi_formation=3)(torch.rand(shape))
    with pytest.raises(DataError, match="use a smaller factor"):
        Decoder(multi_formation=3).pack(torch.rand(9, *shape[1:]))


def test_vectors_cannot_be_packed():
    with pytest.raises(DataError, match="needs images"):
        Decoder(multi_formation=2).pack(torch.rand(4, 7))


@pytest.mark.parametrize(
    "settings",
    [
        {"multi_formation": 0},
        {"noise_copies": 0},
        {"noise": 0.0},
        {"noise": 1.5},
        {"noise": float("nan")},
        {"factor": 2},
        {"copies": 3},
    ],
)
def test_settings_outside_their_range_and_old_names_are_refused(settings):
    with pytest.raises(ValidationError):
        Decoder(**settings)


def test_a_decoder_is_a_value():
    decoder = Decoder(multi_formation=2, noise_copies=3)
    assert decoder == Decoder.model_validate_json(decoder.model_dump_json())
    assert hash(decoder) == hash(Decoder(multi_formation=2, noise_copies=3))
    assert (decoder.tiles, decoder.count, decoder.is_trivial) == (4, 12, False)
    assert AS_STORED.is_trivial
    with pytest.raises(ValidationError, match="frozen"):
        decoder.noise = 0.5
