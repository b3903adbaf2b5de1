"""The exported folder serves somebody who has never heard of moc."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
import torch
from fake_study import fake_set, fake_study
from PIL import Image

import moc
from moc.data.decoder import Decoder
from moc.data.storage import save_set
from moc.errors import DataError, PolicyError
from moc.export import export_set
from moc.views.handover import changed_files

DECODERS = {
    "plain": Decoder(),
    "tiles": Decoder(multi_formation=2),
    "copies": Decoder(noise_copies=3),
}


@pytest.fixture
def study(tmp_path):
    return fake_study(tmp_path / "study", trials=2)


def stored(study, number, synthetic):
    save_set(synthetic, study.folder / study.trials[number].set_path)
    return synthetic


@pytest.mark.parametrize("form", ["safetensors", "npz"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_loader_gives_the_training_records_and_never_imports_moc(
    study, tmp_path, form, decoder
):
    made = stored(study, 0, replace(fake_set(), decoder=DECODERS[decoder]))
    folder = export_set(study, 0, tmp_path / "out", format=form)
    program = (
        "import runpy, sys, numpy; names = runpy.run_path(sys.argv[1]);"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'moc'];"
        "numpy.savez(sys.argv[2], x=names['x'], labels=names['labels'],"
        " z=(names['x'] - names['mean']) / names['std'])"
    )
    command = [sys.executable, "-I", "-c", program, folder / "load.py", tmp_path / "read.npz"]
    subprocess.run(command, check=True, cwd=tmp_path)
    x, labels = made.training_records()
    with np.load(tmp_path / "read.npz") as read:
        np.testing.assert_array_equal(read["x"], x)
        np.testing.assert_array_equal(read["labels"], labels)
        np.testing.assert_allclose(read["z"], (x - 0.3) / 0.35, rtol=1e-5, atol=1e-6)
    assert len((folder / "load.py").read_text().splitlines()) <= 16


@pytest.mark.parametrize("form", ["safetensors", "npz"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_moc_load_gives_the_set_back(study, tmp_path, form, decoder):
    made = stored(study, 0, replace(fake_set(), decoder=DECODERS[decoder]))
    read = moc.load(str(export_set(study, 0, tmp_path / "out", format=form)))
    for ours, theirs in zip(made.training_records(), read.training_records(), strict=True):
        assert torch.equal(ours, theirs)
    assert read.info == made.info


def test_moc_load_says_what_it_wants(tmp_path):
    with pytest.raises(DataError, match="A folder that moc exported expected at"):
        moc.load(tmp_path)


def test_the_table_holds_every_record_with_its_class(study, tmp_path):
    made = stored(study, 0, fake_set((3, 4, 5)))
    folder = export_set(study, 0, tmp_path / "out")
    table = pyarrow.parquet.read_table(folder / "train.parquet").to_pydict()
    np.testing.assert_array_equal(np.array(table["x"], np.float32), made.x)
    assert table["label"] == made.labels.argmax(1).tolist()
    assert table["class"] == [made.info.classes[k] for k in table["label"]]
    head = (folder / "README.md").read_text().split("---")[1]
    assert "path: train.parquet" in head


def test_pngs_stand_in_a_folder_for_each_class(study, tmp_path):
    info = replace(fake_set().info, classes=("T-shirt/top", "a b", *"23456789"))
    made = stored(study, 0, replace(fake_set(), info=info))
    folder = export_set(study, 0, tmp_path / "out", pngs=True) / "png"
    assert sorted(path.name for path in folder.iterdir())[:2] == ["0-T-shirt_top", "1-a_b"]
    files = sorted(folder.rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    np.testing.assert_array_equal(pixels, (made.x[:, 0] * 255).round())


def test_vectors_have_no_pngs_and_nothing_is_written(study, tmp_path):
    stored(study, 0, fake_set((7,)))
    with pytest.raises(PolicyError, match="PNGs need grey or RGB images"):
        export_set(study, 0, tmp_path / "out", pngs=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study"]


def test_croissant_names_fields_of_the_table_by_its_hash(study, tmp_path):
    folder = export_set(study, 0, tmp_path / "out")
    described = json.loads((folder / "croissant.json").read_text())
    (file,) = described["distribution"]
    (records,) = described["recordSet"]
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert f"{file['sha256']}  {file['contentUrl']}\n" in (folder / "SHA256SUMS").read_text()
    columns = pyarrow.parquet.read_schema(folder / file["contentUrl"]).names
    assert [field["source"]["extract"]["column"] for field in records["field"]] == columns
    assert {field["source"]["fileObject"]["@id"] for field in records["field"]} == {file["@id"]}
    assert {field["dataType"] for field in records["field"]} == {
        "sc:Float",
        "sc:Integer",
        "sc:Text",
    }


def test_the_croissant_validator_accepts_it(study, tmp_path):
    croissant = pytest.importorskip("mlcroissant")
    folder = export_set(study, 0, tmp_path / "out")
    data = croissant.Dataset(jsonld=folder / "croissant.json")
    assert [row["records/label"] for row in data.records("records")][:4] == [0, 0, 0, 1]


def test_datasets_reads_the_folder(study, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    folder = export_set(study, 0, tmp_path / "out", pngs=True)
    rows = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    assert rows["label"][:4] == [0, 0, 0, 1]
    pictures = datasets.load_dataset(str(folder / "png"), cache_dir=str(tmp_path / "cache"))
    assert len(pictures["train"]) == len(rows) == 30


def test_any_file_that_changes_is_found(study, tmp_path):
    folder = export_set(study, 0, tmp_path / "out", pngs=True)
    (folder / "mine.txt").write_text("not moc's")
    assert changed_files(folder) == {}
    (folder / "README.md").write_text("words")
    (folder / "png" / "0-0" / "0000.png").unlink()
    assert changed_files(folder) == {"README.md": "was changed", "png/0-0/0000.png": "is missing"}
    with pytest.raises(PolicyError, match="with its SHA256SUMS expected"):
        changed_files(tmp_path)


def test_an_export_that_nobody_touched_is_replaced_and_no_other(study, tmp_path):
    folder = export_set(study, 0, tmp_path / "out", pngs=True)
    export_set(study, 1, folder, format="npz")
    names = {path.name for path in folder.iterdir()}
    assert "set.npz" in names
    assert names.isdisjoint({"set.safetensors", "png"})
    assert changed_files(folder) == {}
    with pytest.raises(PolicyError, match="it holds something"):
        export_set(replace(study, name="other"), 0, folder)
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(PolicyError, match="it holds something"):
        export_set(study, 1, folder)
    (folder / "mine.txt").unlink()
    (folder / "README.md").write_text("my words")
    with pytest.raises(PolicyError, match="it holds something"):
        export_set(study, 1, folder)


def test_an_export_that_fails_leaves_nothing(study, tmp_path, monkeypatch):
    from moc import export

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_for_strangers", fail)
    with pytest.raises(OSError, match="No space"):
        export_set(study, 0, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study"]
