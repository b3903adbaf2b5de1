"""Hugging Face data sets: from disk, by name, and without the package."""

from __future__ import annotations

import os
import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from privacy.private_tools import moments, real

from moc.audit.inspect import guess, inspect
from moc.data import SOURCES
from moc.data.vault import unseal
from moc.errors import DataError, StudyError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 5, 6), dtype=np.uint8)
LABELS = [0, 1, 2] * 4


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets", reason="needs pip install 'moc-condensation[hf]'")


@pytest.fixture
def pets(datasets):
    """Three splits of grey pictures, with named classes and a column that nobody asked for."""
    features = datasets.Features(
        photo=datasets.Image(),
        species=datasets.ClassLabel(names=["cat", "dog", "owl"]),
        owner=datasets.Value("string"),
    )
    cuts = {"train": slice(0, 6), "validation": slice(6, 9), "test": slice(9, 12)}
    return datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(
                {
                    "photo": [Image.fromarray(one) for one in PIXELS[rows]],
                    "species": LABELS[rows],
                    "owner": ["somebody"] * len(LABELS[rows]),
                },
                features=features,
            )
            for name, rows in cuts.items()
        }
    )


def source(**table):
    return SOURCES.make({"kind": "huggingface", **table})


def test_a_folder_on_disk_is_read_by_what_its_columns_are(pets, tmp_path):
    pets.save_to_disk(tmp_path / "pets")
    found = source(path=tmp_path / "pets")
    assert found.sections == ("train", "validation", "test")
    for section, rows in (("train", slice(0, 6)), ("validation", slice(6, 9))):
        data = found.load(section)
        assert data.info.classes == ("cat", "dog", "owl")
        assert data.info.shape == (1, 5, 6)
        assert unseal(data).y.tolist() == LABELS[rows]
        np.testing.assert_array_equal(unseal(data).x[:, 0], PIXELS[rows])
    assert found.load().info.taken == ("count", "classes")


def test_inspect_knows_it(pets, tmp_path):
    pets.save_to_disk(tmp_path / "pets")
    found = inspect(guess(tmp_path / "pets"))
    assert found.source.kind == "huggingface"
    assert (found.source.size, found.source.colours, found.told) == (None, None, False)
    assert found.counts == {"train": (2, 2, 2), "validation": (1, 1, 1), "test": (1, 1, 1)}


def test_pictures_of_mixed_sizes_become_alike_by_a_declared_rule(datasets, tmp_path):
    images = [Image.new(("L", "RGB")[k % 2], (7 + k, 8), 40 * k) for k in range(4)]
    table = {"image": images, "label": ["b", "a", "b", "a"]}
    datasets.Dataset.from_dict(table).cast_column("image", datasets.Image()).save_to_disk(
        tmp_path / "mixed"
    )
    with pytest.raises(DataError, match=r"one size, and all grey or all RGB.*record 1"):
        source(path=tmp_path / "mixed").load()
    data = source(path=tmp_path / "mixed", size=6, colours="rgb").load()
    assert data.info.shape == (3, 6, 6)
    assert data.info.classes == ("a", "b")
    assert unseal(data).y.tolist() == [1, 0, 1, 0]
    told = inspect(guess(tmp_path / "mixed"))
    assert (told.source.size, told.source.colours, told.told) == (7, "rgb", True)


def test_arrays_are_brought_to_the_unit_range(datasets, tmp_path):
    x = np.random.default_rng(0).integers(0, 4096, (6, 4))
    datasets.Dataset.from_dict({"signal": x.tolist(), "label": [5, 6] * 3}).save_to_disk(
        tmp_path / "signals"
    )
    with pytest.raises(DataError, match=r"A column 'image' expected in .*, found signal, label"):
        source(path=tmp_path / "signals").load()
    with pytest.raises(DataError, match="range"):
        source(path=tmp_path / "signals", column="signal").load()
    data = source(path=tmp_path / "signals", column="signal", range=(0, 4095)).load()
    np.testing.assert_allclose(unseal(data).x, x / 4095, atol=1e-6)
    assert not source(path=tmp_path / "signals").has_test
    assert source(path=tmp_path / "signals", column="signal").proposed().size is None
    ragged = {"signal": [[1, 2], [3]], "label": [0, 1]}
    datasets.Dataset.from_dict(ragged).save_to_disk(tmp_path / "ragged")
    with pytest.raises(DataError, match=r"one shape|numbers"):
        source(path=tmp_path / "ragged", column="signal", range=(0, 4)).load()


def test_a_name_is_looked_up_on_the_hub(datasets, pets, monkeypatch):
    asked = []

    def load_dataset(*names):
        asked.append(names)
        if names[0] != "somebody/pets":
            raise FileNotFoundError("Dataset 'nobody/pets' doesn't exist on the Hub\nmore")
        return pets

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert source(name="somebody/pets", subset="small").load().info.count == 6
    assert asked[-1] == ("somebody/pets", "small")
    assert source(name="somebody/pets").folder is None
    with pytest.raises(DataError, match=r"nobody/pets cannot be read .* exist on the Hub$"):
        source(name="nobody/pets").load()


def test_a_broken_folder_is_refused(datasets, pets, tmp_path):
    with pytest.raises(DataError, match=r"save_to_disk wrote expected at .*nowhere, found none"):
        source(path=tmp_path / "nowhere").load()
    pets.save_to_disk(tmp_path / "pets")
    for file in (tmp_path / "pets" / "test").glob("*.arrow"):
        file.write_bytes(b"words")
    with pytest.raises(DataError, match="cannot be read as a data set"):
        source(path=tmp_path / "pets").load()


def test_without_the_package_a_sentence_says_what_to_type(tmp_path, monkeypatch):
    (tmp_path / "dataset_info.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"not installed: type pip install 'moc-condensation\[hf\]"):
        source(path=tmp_path).load()


@pytest.mark.parametrize("table", [{}, {"path": "a", "name": "b"}])
def test_one_place_is_named(table):
    with pytest.raises(StudyError, match="either path, of a folder, or name, on the Hub"):
        source(**table)


def big(datasets, folder, *, arrays):
    """2,300 records in several files, as pictures or as arrays of float."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (2300, 5, 6), dtype=np.uint8)
    features = datasets.Features(
        x=datasets.Array2D((5, 6), "float32") if arrays else datasets.Image(),
        y=datasets.ClassLabel(names=["a", "b", "c"]),
    )
    held = list((x / 255).astype(np.float32)) if arrays else [Image.fromarray(one) for one in x]
    table = {"x": held, "y": (np.arange(2300) % 3).tolist()}
    made = datasets.Dataset.from_dict(table, features=features)
    datasets.DatasetDict(train=made).save_to_disk(folder, num_shards={"train": 4})
    return folder


@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param(False, id="pictures"),
        pytest.param(True, id="arrays", marks=pytest.mark.slow),
    ],
)
def test_a_split_of_more_than_memory_stays_in_its_files_and_is_the_same(datasets, tmp_path, arrays):
    path = big(datasets, tmp_path / "big", arrays=arrays)
    here = source(path=path, column="x", label="y").load()
    there = source(path=path, column="x", label="y", memory=1e-7).load()
    assert here.info == there.info
    assert here.fingerprint() == there.fingerprint()
    collection = real(here.info, statistics=moments())
    for one, other in zip(
        here.split([300, 2000], seed=1), there.split([300, 2000], seed=1), strict=True
    ):
        expected = collection.sums(unseal(one)).flat()
        assert torch.equal(collection.sums(unseal(other)).flat(), expected)
        sent = pickle.dumps(unseal(other))
        assert unseal(one).x[0].numpy().tobytes() not in sent
        assert torch.equal(collection.sums(pickle.loads(sent)).flat(), expected)
    with pytest.raises(DataError, match="These 2000 records are streamed"):
        _ = unseal(there.split([300, 2000], seed=1)[1]).x


def test_files_that_changed_meanwhile_are_noticed(datasets, tmp_path):
    path = big(datasets, tmp_path / "big", arrays=True)
    data = source(path=path, column="x", label="y", memory=1e-7).load()
    collection = real(data.info, statistics=moments())
    collection.sums(unseal(data))
    file = next((path / "train").glob("*.arrow"))
    os.utime(file, ns=(0, 0))
    with pytest.raises(DataError, match=r"arrow has changed since its records were counted"):
        collection.sums(unseal(data))
