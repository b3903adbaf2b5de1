from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F
from gpu_device import DEVICE, needs_gpu
from hypothesis import given
from hypothesis import strategies as st

from moc.data import augment as module
from moc.data.augment import Augmentation, AugmentationDraw, Chances
from moc.errors import StudyError

NAMES = ("brightness", "saturation", "contrast", "crop", "cutout", "flip", "scale", "rotate")
shapes = st.tuples(st.sampled_from([1, 3]), st.integers(4, 28), st.integers(4, 28))
seeds = st.integers(0, 2**31)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n, shape, seed=0, dtype=torch.float32):
    return torch.rand(n, *shape, generator=generator(seed), dtype=dtype)


def row(draw, k):
    """Row k of a draw, as a draw of its own."""
    parts = {field.name: getattr(draw, field.name) for field in fields(draw)}
    return AugmentationDraw(
        **{name: None if part is None else part[k : k + 1] for name, part in parts.items()}
    )


def same(a, b):
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in fields(AugmentationDraw)]
    return all(p is q if p is None or q is None else torch.equal(p, q) for p, q in pairs)


@given(
    names=st.sets(st.sampled_from(NAMES)), rows=st.sampled_from([1, 7]), shape=shapes, seed=seeds
)
def test_shape_is_kept_and_values_stay_finite_and_near_the_unit_range(names, rows, shape, seed):
    x = images(7, shape, seed)
    draw = Augmentation(names=tuple(names)).draw(rows, shape, generator=generator(seed))
    out = draw(x)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert torch.isfinite(out).all()
    assert out.min() > -1.5
    assert out.max() < 2.5


@given(names=st.sets(st.sampled_from(NAMES), min_size=1), shape=shapes, seed=seeds)
def test_a_siamese_draw_treats_all_records_alike(names, shape, seed):
    x = images(5, shape, seed)
    draw = Augmentation(names=tuple(names)).draw(1, shape, generator=generator(seed))
    alone = torch.cat([draw(x[k : k + 1]) for k in range(5)])
    assert torch.allclose(draw(x), alone, atol=1e-5)


@given(shape=shapes, seed=seeds)
def test_each_record_is_augmented_by_its_own_row_only(shape, seed):
    x = images(9, shape, seed)
    draw = Augmentation.dsa(mirrored=True).draw(9, shape, generator=generator(seed))
    alone = torch.cat([row(draw, k)(x[k : k + 1]) for k in range(9)])
    assert torch.allclose(draw(x), alone, atol=1e-5)


@given(seed=seeds, rows=st.integers(1, 20))
def test_the_generator_alone_decides_the_draw(seed, rows):
    augmentation = Augmentation.dsa(mirrored=True)
    before = torch.get_rng_state()
    a, b = (augmentation.draw(rows, (1, 8, 8), generator=generator(seed)) for _ in range(2))
    assert same(a, b)
    assert torch.equal(torch.get_rng_state(), before)


def test_successive_draws_differ():
    g = generator()
    augmentation = Augmentation.dsa(mirrored=True)
    assert not same(*(augmentation.draw(20, (1, 8, 8), generator=g) for _ in range(2)))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rows", [1, 4])
def test_gradients_reach_the_images_and_are_right(seed, rows):
    shape = (3, 5, 6)
    x = images(4, shape, seed, torch.float64).requires_grad_()
    draw = Augmentation.dsa(mirrored=True).draw(rows, shape, generator=generator(seed))
    assert torch.autograd.gradcheck(draw, (x,))
    (gradient,) = torch.autograd.grad(draw(x).square().sum(), x)
    assert (gradient.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize("x", [torch.rand(3, 1, 8, 8), torch.rand(3, 5)])
def test_none_is_the_identity_on_records_of_any_shape(x):
    g = generator()
    draw = Augmentation.none().draw(3, tuple(x.shape[1:]), generator=g)
    assert draw(x) is x
    assert torch.equal(g.get_state(), generator().get_state())


def test_a_strategy_has_six_groups_or_five_without_a_flip():
    groups = {"color", "crop", "cutout", "flip", "scale", "rotate"}
    assert set(Augmentation.dsa(mirrored=True).groups) == groups
    assert set(Augmentation.dsa(mirrored=False).groups) == groups - {"flip"}
    assert Augmentation(names=("contrast", "saturation")).groups == ("color",)


def test_records_get_one_group_each_and_all_groups_equally_often():
    n = 6000
    draw = Augmentation.dsa(mirrored=False).draw(n, (1, 8, 8), generator=generator())
    color = (draw.color != torch.tensor([0.0, 1, 1])).any(1)
    cutout = draw.cutout[:, 1] > draw.cutout[:, 0]
    warp = (draw.warp != torch.eye(2, 3)).flatten(1).any(1)
    assert (color.int() + cutout.int() + warp.int()).max() == 1
    for share, part in ((1 / 5, color), (1 / 5, cutout)):
        assert abs(part.float().mean() - share) < 4 * math.sqrt(share * (1 - share) / n)
    shifted = draw.warp[:, :, 2].any(1)
    turned = draw.warp[:, 0, 1] != 0
    scaled = warp & ~shifted & ~turned
    for part, share in ((turned, 1 / 5), (scaled, 1 / 5), (shifted, 8 / 9 / 5)):
        assert abs(part.float().mean() - share) < 4 * math.sqrt(share * (1 - share) / n)


def test_records_whose_row_changes_nothing_stay_exactly_as_they_are():
    x = images(200, (3, 9, 7))
    draw = Augmentation.dsa(mirrored=True).draw(200, (3, 9, 7), generator=generator())
    colored = (draw.color != torch.tensor([0.0, 1, 1])).any(1)
    only_warp = AugmentationDraw(warp=draw.warp, cutout=draw.cutout)(x)
    assert torch.equal(only_warp[colored], x[colored])
    assert torch.equal(AugmentationDraw(color=draw.color)(x)[~colored], x[~colored])


def test_flip_mirrors_half_of_the_records():
    n = 400
    x = images(n, (2, 5, 6))
    out = Augmentation(names=("flip",)).draw(n, (2, 5, 6), generator=generator())(x)
    kept = torch.isclose(out, x, atol=1e-5).flatten(1).all(1)
    mirrored = torch.isclose(out, x.flip(-1), atol=1e-5).flatten(1).all(1)
    assert (kept ^ mirrored).all()
    assert abs(kept.float().mean() - 0.5) < 0.1


@given(seed=seeds, shape=shapes)
def test_a_flip_of_a_flip_is_the_identity(seed, shape):
    x = images(4, shape, seed)
    draw = Augmentation(names=("flip",)).draw(4, shape, generator=generator(seed))
    assert torch.allclose(draw(draw(x)), x, atol=1e-5)


@given(seed=seeds, shape=st.tuples(st.just(1), st.integers(4, 28), st.integers(4, 28)))
def test_crop_shifts_by_wcutout_pixels_and_fills_with_zero(seed, shape):
    _, height, width = shape
    x = images(6, shape, seed)
    draw = Augmentation(names=("crop",)).draw(6, shape, generator=generator(seed))
    out = draw(x)
    sides = torch.tensor([width, height])
    for k, shift in enumerate((draw.warp[:, :, 2] * sides / 2).tolist()):
        dx, dy = round(shift[0]), round(shift[1])
        assert abs(shift[0] - dx) < 1e-4
        assert abs(dx) <= math.floor(width / 8 + 0.5)
        assert abs(dy) <= math.floor(height / 8 + 0.5)
        padded = F.pad(x[k], (28, 28, 28, 28))
        expected = padded[:, 28 + dy : 28 + dy + height, 28 + dx : 28 + dx + width]
        assert torch.allclose(out[k], expected, atol=1e-4)


def test_crop_reaches_every_shift_equally_often():
    warp = Augmentation(names=("crop",)).draw(9000, (1, 28, 28), generator=generator()).warp
    counts = (warp[:, 0, 2] * 14).round().long().add(4).bincount()
    assert len(counts) == 9
    assert (counts - 1000).abs().max() < 5 * math.sqrt(1000)


@given(seed=seeds, shape=shapes)
def test_cutout_zeroes_a_rectangle_of_at_most_half_the_side(seed, shape):
    _, height, width = shape
    draw = Augmentation(names=("cutout",)).draw(5, shape, generator=generator(seed))
    gone = draw(torch.ones(5, *shape)) == 0
    assert (gone == gone[:, :1]).all()
    gone = gone[:, 0]
    rows, columns = gone.any(2), gone.any(1)
    assert torch.equal(gone, rows[:, :, None] & columns[:, None, :])
    for hit, side in ((rows, height), (columns, width)):
        size = math.floor(side / 2 + 0.5)
        assert ((hit.sum(1) >= size // 2) & (hit.sum(1) <= size)).all()
        assert (hit.int().diff(dim=1).abs().sum(1) <= 2).all()


def test_cutout_zeroes_just_the_pixels_from_top_to_bottom_and_left_to_right():
    x = torch.ones(2, 3, 4, 6)
    out = AugmentationDraw(cutout=torch.tensor([[1, 3, 2, 5], [-1, 1, 4, 9]]))(x)
    x[0, :, 1:3, 2:5] = 0
    x[1, :, :1, 4:] = 0
    assert torch.equal(out, x)


def test_a_seed_draws_today_what_it_drew_before():
    cutout = Augmentation(names=("cutout",)).draw(3, (1, 8, 6), generator=generator(5)).cutout
    assert cutout.tolist() == [[4, 8, 4, 7], [-1, 3, 3, 6], [5, 9, 2, 5]]
    warp = Augmentation(names=("crop",)).draw(4, (1, 28, 28), generator=generator(5)).warp
    shift = (warp[:, :, 2] * 14).round().long()
    assert shift.tolist() == [[4, -3], [2, -4], [1, 1], [1, 2]]


def test_cutout_can_reach_every_pixel():
    draw = Augmentation(names=("cutout",)).draw(500, (1, 8, 8), generator=generator())
    assert (draw(torch.ones(500, 1, 8, 8)) == 0).any(0).all()


@given(seed=seeds, shape=shapes)
def test_rotation_turns_pixels_rigidly_by_at_most_fifteen_degrees(seed, shape):
    warp = Augmentation(names=("rotate",)).draw(5, shape, generator=generator(seed)).warp
    sides = torch.tensor([shape[2], shape[1]], dtype=torch.float32)
    pixels = sides[:, None] * warp[:, :, :2] / sides
    assert torch.allclose(pixels @ pixels.mT, torch.eye(2).expand(5, 2, 2), atol=1e-4)
    assert torch.allclose(torch.linalg.det(pixels), torch.ones(5), atol=1e-4)
    assert (pixels[:, 0, 0] >= math.cos(math.radians(15)) - 1e-6).all()


@given(seed=seeds)
def test_scale_stretches_each_axis_by_at_most_a_fifth(seed):
    warp = Augmentation(names=("scale",)).draw(50, (1, 8, 8), generator=generator(seed)).warp
    factors = warp[:, [0, 1], [0, 1]]
    assert ((factors >= 1 / 1.2 - 1e-6) & (factors <= 1.2 + 1e-6)).all()
    assert (factors[:, 0] != factors[:, 1]).any()
    assert not warp[:, [0, 1, 0, 1], [1, 0, 2, 2]].any()


@pytest.mark.parametrize(
    ("name", "constant", "value"), [("scale", "SCALE", 1.0000001), ("rotate", "ROTATE", 1e-5)]
)
@given(seed=seeds, shape=shapes)
def test_vanishing_scale_and_rotation_are_the_identity(name, constant, value, seed, shape):
    x = images(4, shape, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, constant, value)
        out = Augmentation(names=(name,)).draw(4, shape, generator=generator(seed))(x)
    assert torch.allclose(out, x, atol=1e-5)


def test_a_quarter_turn_agrees_with_moving_the_pixels():
    x = images(2, (1, 6, 6))
    turn = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    assert torch.allclose(AugmentationDraw(warp=turn)(x), x.rot90(1, (-2, -1)), atol=1e-5)


@given(seed=seeds, shape=shapes)
def test_brightness_shifts_all_pixels_of_a_record_alike(seed, shape):
    x = images(4, shape, seed)
    draw = Augmentation(names=("brightness",)).draw(4, shape, generator=generator(seed))
    shift = (draw(x) - x).flatten(1)
    assert torch.allclose(shift, shift[:, :1].expand_as(shift), atol=1e-5)
    assert shift.abs().max() <= module.BRIGHTNESS / 2 + 1e-5


@given(seed=seeds, shape=shapes)
def test_contrast_keeps_the_mean_and_scales_the_deviation(seed, shape):
    x = images(4, shape, seed)
    out = Augmentation(names=("contrast",)).draw(4, shape, generator=generator(seed))(x)
    assert torch.allclose(out.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-5)
    ratio = out.flatten(1).std(1) / x.flatten(1).std(1)
    assert ((ratio >= 0.5 - 1e-3) & (ratio <= 1.5 + 1e-3)).all()


@given(seed=seeds, shape=shapes)
def test_saturation_keeps_grey_levels_and_grey_images(seed, shape):
    x = images(4, shape, seed)
    out = Augmentation(names=("saturation",)).draw(4, shape, generator=generator(seed))(x)
    assert torch.allclose(out.mean(1), x.mean(1), atol=1e-5)
    assert torch.equal(out, x) == (shape[0] == 1)


def test_a_draw_is_refused_for_another_number_of_records_and_for_bytes():
    draw = Augmentation.dsa(mirrored=True).draw(5, (1, 8, 8), generator=generator())
    for wrong in (torch.rand(7, 1, 8, 8), torch.rand(1, 1, 8, 8)):
        with pytest.raises(ValueError, match="A draw of 5 rows needs as many"):
            draw(wrong)
    with pytest.raises(ValueError, match=r"found 5 of torch\.uint8"):
        draw(torch.zeros(5, 1, 8, 8, dtype=torch.uint8))


def test_what_cannot_be_augmented_is_refused_in_one_sentence():
    with pytest.raises(StudyError, match="expected, found noise"):
        Augmentation(names=("flip", "noise"))
    with pytest.raises(StudyError, match="Use none for feature vectors"):
        Augmentation.dsa(mirrored=False).draw(2, (5,), generator=generator())


@pytest.mark.gpu
@needs_gpu
@given(seed=seeds)
def test_a_draw_does_the_same_on_any_device(seed):
    x = images(32, (3, 8, 8), seed)
    draw = Augmentation.dsa(mirrored=True).draw(32, (3, 8, 8), generator=generator(seed))
    assert torch.allclose(draw(x.to(DEVICE)).cpu(), draw(x), atol=1e-4)


@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5), shape=shapes, seed=seeds)
def test_draws_made_together_are_those_made_one_by_one(sizes, shape, seed):
    augmentation, one, all_ = Augmentation.dsa(mirrored=True), generator(seed), generator(seed)
    chances = [augmentation.chances(n, generator=all_) for n in sizes]
    together, first = augmentation.of(Chances.together(chances), shape), 0
    for n in sizes:
        x = images(n, shape, seed)
        alone = augmentation.draw(n, shape, generator=one)(x)
        assert torch.equal(together.rows(first, first + n)(x), alone)
        first += n
