"""What moc inspect says, and that what it proposes can be used as it stands."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
from cifar_files import write_10
from idx_files import write
from PIL import Image

from moc.audit.inspect import guess, inspect
from moc.data import SOURCES
from moc.data.declared import Declared
from moc.errors import DataError

RNG = np.random.default_rng(0)
ROWS = "age,sex,id,smoker,label\n" + "".join(
    f"{20 + k},{'fm'[k % 2]},p{k},{'' if k == 3 else 'yes'},{'sick' if k % 3 else 'well'}\n"
    for k in range(24)
)


def images(folder, sizes, mode="L"):
    for k, size in enumerate(sizes):
        pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
        (folder / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert(mode if k else "RGB").save(
            folder / "ab"[k % 2] / f"{k}.png"
        )
    return folder


def table(path):
    path.write_text(ROWS)
    return path


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


Y = np.tile([0, 1], 8)
CASES = {
    "table": lambda p: table(p / "people.csv"),
    "folder": lambda p: images(p / "pictures", [(8, 9), (12, 7), (8, 8), (9, 9)]),
    "idx": lambda p: write(p / "idx", images=np.arange(96, dtype=np.uint8).reshape(6, 4, 4)),
    "cifar10": lambda p: write_10(p / "cifar"),
    "npz": lambda p: archive(p / "a.npz", x=RNG.integers(0, 4095, (16, 5, 5), np.uint16), y=Y),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_proposed_table_loads_the_same_records(tmp_path, kind):
    if kind == "idx":
        write(tmp_path / "idx", "t10k")
    found = inspect(guess(CASES[kind](tmp_path)))
    settings = tomllib.loads(found.table())["data"]
    assert settings["source"]["kind"] == kind
    again = SOURCES.make(settings["source"])
    assert again == found.source
    assert again.load().info == found.info
    count = sum(found.counts["train"])
    assert again.load().info.count == count
    assert settings["validation"] + settings["test"] < count or again.has_test
    declared = Declared.model_validate(settings.get("declared", {}))
    told = again.load("train", declared).info
    assert (told.taken, told.count, told.classes) == ((), count, found.info.classes)


def test_a_table_is_told_its_bounds_and_words_but_no_column_of_names(tmp_path):
    found = inspect(guess(table(tmp_path / "people.csv")))
    assert found.source.columns == {"age": (20, 43), "sex": ("f", "m"), "smoker": ("yes",)}
    assert found.source.missing == "middle"
    assert "read off the records" in found.describe()[-1]


def test_images_of_mixed_sizes_are_told_the_smallest_and_the_colours(tmp_path):
    source = inspect(guess(CASES["folder"](tmp_path))).source
    assert (source.size, source.colours) == (7, "rgb")
    alike = inspect(guess(images(tmp_path / "alike", [(6, 6)] * 4, "RGB")))
    assert (alike.source.size, alike.source.colours, alike.told) == (None, None, False)


def test_counts_range_and_copies_are_those_of_the_records(tmp_path):
    x = RNG.integers(20, 200, (16, 5, 5), dtype=np.uint8)
    x[:2], x[4], x[6] = 51, x[2], x[2]
    y = np.where(np.arange(16) < 12, Y, 0)
    again = x[[2, 3, 9]]
    path = archive(tmp_path / "a.npz", x_train=x, y_train=y, x_test=again, y_test=y[[2, 3, 9]])
    found = inspect(guess(path))
    assert found.counts == {"train": (10, 6), "test": (1, 2)}
    assert found.copies == {"train": 2, "test": 3}  # 0 and 1 are alike but of two classes
    assert found.span == pytest.approx((x.min() / 255, x.max() / 255))
    lines = found.describe()
    assert "images (channels x height x width) of 1 x 5 x 5" in lines[0]
    assert lines[1:4] == [
        "train: 16 records, 2 of them copies of others, 1 or more nearly so",
        "  0: 10, 1: 6",
        lines[3],
    ]
    assert found.examples.labels.sum(0).tolist() == [10, 6]


def test_records_that_are_nearly_others_are_counted_and_different_ones_are_not(tmp_path):
    x = RNG.integers(40, 200, (40, 12, 12), dtype=np.uint8)
    nearly = np.clip(x[:10].astype(int) + RNG.integers(-1, 2, (10, 12, 12)), 0, 255)
    y = np.arange(40) % 2
    path = archive(
        tmp_path / "a.npz", x_train=x, y_train=y, x_test=nearly.astype(np.uint8), y_test=y[:10]
    )
    found = inspect(guess(path))
    assert found.copies == {"train": 0, "test": 0}
    assert found.near["train"] == 0
    assert 1 <= found.near["test"] <= 10
    assert any("up to k times epsilon" in line for line in found.describe())


def test_what_no_source_reads_is_said(tmp_path):
    with pytest.raises(DataError, match=r"expected at .*nowhere, found nothing"):
        guess(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(DataError, match="found something that moc does not know"):
        guess(tmp_path / "a.txt")


def test_a_validation_section_of_its_own_is_proposed(tmp_path):
    x = RNG.integers(0, 256, (36, 5, 5), dtype=np.uint8)
    y = np.tile([0, 1], 18)[:, None]
    cuts = {"train": slice(0, 20), "val": slice(20, 30), "test": slice(30, 36)}
    arrays = {f"{name}_images": x[rows] for name, rows in cuts.items()}
    arrays |= {f"{name}_labels": y[rows] for name, rows in cuts.items()}
    found = inspect(guess(archive(tmp_path / "m.npz", **arrays)))
    assert {name: sum(counts) for name, counts in found.counts.items()} == {
        "train": 20,
        "validation": 10,
        "test": 6,
    }
    settings = tomllib.loads(found.table())["data"]
    assert settings["validation_from"] == "validation"
    assert (settings["validation"], settings["test"]) == (10, 6)
