from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from idx_files import IMAGES, write
from PIL import Image

from moc.data import SOURCES, load
from moc.data._vault import unseal
from moc.errors import DataError


@pytest.fixture
def paths(tmp_path):
    """A path of the same six images for every source that takes one."""
    idx = write(tmp_path / "idx")
    npz = tmp_path / "file.npz"
    np.savez(npz, x=IMAGES, y=[0, 1, 2, 2, 1, 0])
    for k, image in enumerate(IMAGES):
        (tmp_path / "folder" / str(k)).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "folder" / str(k) / "image.png")
    return {
        "idx": idx,
        "mnist": idx,
        "fashion_mnist": idx,
        "npz": npz,
        "folder": tmp_path / "folder",
    }


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_comes_through_the_door(paths, source):
    data = load(source, path=paths.get(source))
    if source == "digits":
        assert data.info.count == 1797
    else:
        assert torch.equal(unseal(data).x[:, 0], torch.from_numpy(IMAGES))
    assert data.info.mirrored == (source == "fashion_mnist")


def test_fashion_mnist_without_a_path_is_looked_for(paths, monkeypatch):
    monkeypatch.setenv("MOC_DATA", str(paths["idx"]))
    assert load("fashion_mnist").info.classes[1] == "Trouser"


def test_a_path_may_begin_at_home(paths, monkeypatch):
    monkeypatch.setenv("HOME", str(paths["npz"].parent))
    assert load("npz", path=Path("~/file.npz")).info.count == 6


@pytest.mark.parametrize("source", ["digits", "folder", "npz"])
def test_a_source_without_a_test_part_says_to_split(paths, source):
    with pytest.raises(DataError, match="split that instead"):
        load(source, path=paths.get(source), part="test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "cifar"}, "A source among digits, .* expected, found 'cifar'"),
        ({"source": "digits", "part": "validation"}, "'train' or 'test' expected"),
        ({"source": "digits", "path": Path("here")}, "built in; remove its path here"),
        ({"source": "npz"}, "'npz' needs a path"),
        ({"source": "npz", "path": Path("nowhere.npz")}, "found no file"),
        ({"source": "idx", "path": Path("nowhere")}, "A folder of IDX files expected"),
        ({"source": "fashion_mnist", "path": Path("nowhere")}, "A folder of IDX files expected"),
        ({"source": "folder", "path": Path("nowhere")}, "one sub-folder for each class"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_one_sentence(arguments, message):
    with pytest.raises(DataError, match=message):
        load(**arguments)
