from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from moc.data.sources import SOURCES
from moc.data.sources.folder import load_folder
from moc.data.vault import unseal
from moc.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)


def save(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of three grey images, 5 wide and 4 high."""
    for k, image in enumerate(PIXELS[..., 0]):
        save(tmp_path / "pets" / ("cat", "dog")[k % 2] / f"{k}.png", image)
    return tmp_path / "pets"


def test_grey_images_are_read_class_by_class(folder):
    data = load_folder(folder)
    info, records = data.info, unseal(data)
    assert (info.name, info.shape, info.classes) == ("pets", (1, 4, 5), ("cat", "dog"))
    assert records.y.tolist() == [0, 0, 0, 1, 1, 1]
    order = [0, 2, 4, 1, 3, 5]
    assert torch.equal(records.x[:, 0], torch.from_numpy(PIXELS[order][..., 0]))


def test_colour_images_are_channels_first(tmp_path):
    for k in range(2):
        save(tmp_path / str(k) / "image.png", PIXELS[k])
    data = load_folder(tmp_path)
    assert torch.equal(unseal(data).x, torch.from_numpy(PIXELS[:2]).permute(0, 3, 1, 2))
    assert data.info.mean == (0.5,) * 3


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("P", 3)])
def test_bilevel_images_are_grey_and_palettes_are_colours(tmp_path, mode, channels):
    for k in range(2):
        pixels = PIXELS[k] // 128 * 255  # so few colours that nothing is lost
        save(tmp_path / str(k) / "image.png", pixels[..., 0] if mode == "1" else pixels, mode)
    x = unseal(load_folder(tmp_path)).x
    assert torch.equal(
        x, torch.from_numpy(PIXELS[:2] // 128 * 255).permute(0, 3, 1, 2)[:, :channels]
    )


def test_hidden_files_are_skipped(folder):
    (folder / ".cache").mkdir()
    (folder / "cat" / ".DS_Store").write_bytes(b"no image")
    assert load_folder(folder).info.count == 6


@pytest.mark.parametrize(
    ("pixels", "mode", "found"),
    [
        (PIXELS[0, :, :4, 0], None, r"5 x 4 grey, .*dog.3\.png is 4 x 4 grey"),
        (PIXELS[0], None, r"5 x 4 grey, .*dog.3\.png is 5 x 4 RGB"),
        (PIXELS[0], "RGBA", r"dog.3\.png: a grey or RGB image expected, found mode RGBA"),
        (PIXELS[0], "I;16", r"dog.3\.png: a grey or RGB image expected, found mode I;16"),
    ],
)
def test_the_first_image_that_differs_is_named(folder, pixels, mode, found):
    image = np.zeros((4, 5), np.uint16) if mode == "I;16" else pixels
    save(folder / "dog" / "3.png", image, None if mode == "I;16" else mode)
    with pytest.raises(DataError, match=found):
        load_folder(folder)


def test_what_is_no_image_is_named(folder):
    file = folder / "dog" / "3.png"
    whole = file.read_bytes()
    for raw in (whole[:40], b"", b"words", whole[:33] + b"\0" * 20):
        file.write_bytes(raw)
        with pytest.raises(DataError, match=r"3\.png cannot be read as an image"):
            load_folder(folder)
    file.unlink()
    file.mkdir()
    with pytest.raises(DataError, match=r"3\.png cannot be read as an image"):
        load_folder(folder)


def test_folders_without_classes_or_images_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match="one sub-folder for each class expected"):
        load_folder(tmp_path / "none")
    with pytest.raises(DataError, match=r"At least two sub-folders.* found 1"):
        load_folder(tmp_path)
    (folder / "fish").mkdir()
    with pytest.raises(DataError, match=r"Images expected in .*fish, found none"):
        load_folder(folder)


def test_sizes_and_colours_that_differ_are_made_alike_by_a_declared_rule(folder):
    wide = np.zeros((6, 12), np.uint8)
    wide[:, 3:9] = 255  # the middle square, which is what is left of it
    save(folder / "dog" / "6.png", wide)
    save(folder / "dog" / "7.png", np.dstack([PIXELS[0], PIXELS[0, ..., :1]]))  # RGBA
    for colours, channels in (("grey", 1), ("rgb", 3)):
        data = load_folder(folder, size=4, colours=colours)
        assert data.info.shape == (channels, 4, 4)
        assert bool((unseal(data).x[6] > 200).all())
    with pytest.raises(DataError, match=r"6\.png is 12 x 6 grey.*size = 32"):
        load_folder(folder)
    with pytest.raises(DataError, match=r"7\.png: a grey or RGB image expected.*colours = "):
        load_folder(folder, size=4)


def test_folders_of_a_train_and_a_test_section_are_told_from_classes(folder, tmp_path):
    whole = tmp_path / "divided"
    whole.mkdir()
    folder.rename(whole / "train")
    for name in ("dog", "cat"):
        save(whole / "test" / name / "a.png", PIXELS[0, ..., 0])
    source = SOURCES.make({"kind": "folder", "path": whole})
    assert source.has_test
    train, test = source.load("train"), source.load("test")
    assert train.info.classes == test.info.classes == ("cat", "dog")
    assert (train.info.count, unseal(test).y.tolist()) == (6, [0, 1])
    save(whole / "test" / "fish" / "a.png", PIXELS[1, ..., 0])
    assert source.load("train").info.classes == ("cat", "dog", "fish")
