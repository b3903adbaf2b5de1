from __future__ import annotations

import numpy as np
import pytest
import torch
from cifar_files import write_10, write_100
from idx_files import IMAGES, LABELS, write
from PIL import Image

from moc.data.sources import SOURCES, Source
from moc.data.vault import unseal
from moc.errors import DataError, StudyError

KEYS = {
    "cifar10": {"path"},
    "cifar100": {"path"},
    "digits": set(),
    "fashion_mnist": {"path"},
    "folder": {"path", "size", "colours"},
    "idx": {"path"},
    "mnist": {"path"},
    "npz": {"path", "range"},
    "shards": {"path", "memory", "range"},
    "table": {"path", "test", "label", "columns", "missing", "separator"},
}
TAKE_A_PATH = [kind for kind, keys in KEYS.items() if "path" in keys]
NEED_A_PATH = [kind for kind in TAKE_A_PATH if kind != "fashion_mnist"]


@pytest.fixture
def paths(tmp_path):
    """A path of the same six images for every source that takes one."""
    idx = write(tmp_path / "idx")
    npz = tmp_path / "file.npz"
    np.savez(npz, x=IMAGES, y=[0, 1, 2, 2, 1, 0])
    (tmp_path / "shards").mkdir()
    for k in range(2):
        np.savez(
            tmp_path / "shards" / f"{k}.npz", x=IMAGES[3 * k : 3 * k + 3], y=[2 * k, 1, 2 - 2 * k]
        )
    for k, image in enumerate(IMAGES):
        (tmp_path / "folder" / str(k)).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "folder" / str(k) / "image.png")
    (tmp_path / "table.csv").write_text("a,label\n0,1\n1,0\n")
    return {
        "cifar10": write_10(tmp_path / "cifar10"),
        "cifar100": write_100(tmp_path / "cifar100"),
        "table": tmp_path / "table.csv",
        "idx": idx,
        "mnist": idx,
        "fashion_mnist": idx,
        "npz": npz,
        "shards": tmp_path / "shards",
        "folder": tmp_path / "folder",
    }


def made(kind, paths):
    return SOURCES.make({"kind": kind, "path": paths[kind]} if kind in paths else kind)


def test_the_family_finds_every_source_and_its_keys():
    found = {kind: set(part.model_fields) - {"kind"} for kind, part in SOURCES.parts.items()}
    assert {kind: found[kind] for kind in KEYS} == KEYS
    for kind, part in SOURCES.parts.items():
        assert issubclass(part, Source)
        assert part.model_fields["kind"].default == kind


def test_digits_need_nothing_but_their_name():
    assert SOURCES.make("digits").load("train").info.count == 1797


@pytest.mark.parametrize("kind", KEYS)
def test_each_source_loads(paths, kind):
    data = made(kind, paths).load()
    counts = {"digits": 1797, "cifar10": 10, "cifar100": 10, "table": 2}
    assert data.info.count == counts.get(kind, len(IMAGES))
    if kind not in counts:
        assert torch.equal(unseal(data).x[:, 0], torch.from_numpy(IMAGES))
    assert data.info.mirrored == (kind in ("fashion_mnist", "cifar10", "cifar100"))


@pytest.mark.parametrize("kind", KEYS)
def test_each_source_is_read_again_from_what_it_writes(paths, kind):
    source = made(kind, paths)
    assert SOURCES.make(source.model_dump(mode="json")) == source


@pytest.mark.parametrize("kind", TAKE_A_PATH)
def test_each_source_refuses_a_missing_place(tmp_path, kind):
    source = SOURCES.make({"kind": kind, "path": tmp_path / "nowhere"})
    with pytest.raises(DataError, match=r"expected at .*nowhere"):
        source.load()


@pytest.mark.parametrize("kind", TAKE_A_PATH)
def test_each_source_refuses_foreign_content(tmp_path, kind):
    (tmp_path / "a").write_bytes(b"words")
    path = tmp_path / "a" if kind == "npz" else tmp_path
    with pytest.raises(DataError):
        SOURCES.make({"kind": kind, "path": path}).load()


@pytest.mark.parametrize("kind", NEED_A_PATH)
def test_a_source_without_its_path_is_refused(kind):
    with pytest.raises(StudyError, match="path: Field required"):
        SOURCES.make(kind)


@pytest.mark.parametrize("kind", KEYS)
def test_unknown_keys_are_refused(paths, kind):
    table = {"kind": kind, "colour": "red"} | ({"path": paths[kind]} if kind in paths else {})
    with pytest.raises(StudyError, match="colour: Extra inputs are not permitted"):
        SOURCES.make(table)


def test_digits_take_no_path(tmp_path):
    with pytest.raises(StudyError, match="path: Extra inputs are not permitted"):
        SOURCES.make({"kind": "digits", "path": tmp_path})


def test_an_unknown_source_is_refused_by_the_names_there_are():
    with pytest.raises(StudyError, match=r"'ciphar'.*'digits'"):
        SOURCES.make("ciphar")


def test_fashion_mnist_without_a_path_is_looked_for(paths, monkeypatch):
    monkeypatch.setenv("MOC_DATA", str(paths["idx"]))
    assert SOURCES.make("fashion_mnist").load().info.classes[1] == "Trouser"


def test_a_path_may_begin_at_home(paths, monkeypatch):
    monkeypatch.setenv("HOME", str(paths["npz"].parent))
    assert SOURCES.make({"kind": "npz", "path": "~/file.npz"}).load().info.count == 6


def test_a_home_that_is_not_known_is_refused():
    with pytest.raises(StudyError, match="home folder in ~nobody-at-all/x is not known"):
        SOURCES.make({"kind": "npz", "path": "~nobody-at-all/x"})


# The test section


@pytest.mark.parametrize("kind", ["digits", "folder", "npz"])
def test_a_source_without_a_test_section_says_to_split(paths, kind):
    source = made(kind, paths)
    assert not source.has_test
    with pytest.raises(DataError, match="split that instead"):
        source.load("test")


@pytest.mark.parametrize("kind", ["idx", "mnist", "fashion_mnist"])
def test_a_test_section_that_is_missing_is_never_replaced(paths, kind):
    source = made(kind, paths)
    assert source.has_test
    with pytest.raises(DataError, match="images of the test part expected"):
        source.load("test")
    write(paths[kind], "t10k", images=IMAGES[:2], labels=LABELS[:2])
    assert source.load("test").info.count == 2


BROKEN = [
    ({"x_test": IMAGES[:2] * 1.0, "y_test": LABELS[:2]}, r"values in \[0, 1\] expected"),
    ({"x_test": IMAGES[:3], "y_test": LABELS[:2]}, "3 records but 2 labels"),
    ({"x_test": IMAGES[:2]}, "y_test is missing"),
    ({"y_test": LABELS[:2]}, "x_test is missing"),
    ({"x_test": IMAGES[:2] * np.nan, "y_test": LABELS[:2]}, "NaN"),
    ({"x_test": IMAGES[:2].astype(np.int64), "y_test": LABELS[:2]}, "found int64"),
    ({"x_test": IMAGES[:2], "y_test": LABELS[:2] * 0}, "at least two classes"),
]


@pytest.mark.parametrize(("arrays", "message"), BROKEN)
def test_a_broken_test_section_is_there_and_fails_to_load(tmp_path, arrays, message):
    np.savez(tmp_path / "file.npz", x_train=IMAGES, y_train=LABELS, **arrays)
    source = SOURCES.make({"kind": "npz", "path": tmp_path / "file.npz"})
    assert source.has_test
    with pytest.raises(DataError, match=message):
        source.load("test")


def guesses(path):
    return [found for part in SOURCES.parts.values() if (found := part.guess(path))]


def test_the_source_is_guessed_from_what_lies_there(paths, tmp_path):
    for kind, path in paths.items():
        found = guesses(path)
        assert [one.kind for one in found] == ["idx" if "mnist" in kind else kind]
        assert found[0].load().info.count > 1
    for path in (tmp_path / "nowhere", tmp_path / "idx" / "train-labels-idx1-ubyte"):
        assert not guesses(path)


def test_asking_for_a_test_section_swallows_no_error(tmp_path):
    source = SOURCES.make({"kind": "npz", "path": tmp_path / "file.npz"})
    with pytest.raises(DataError, match="found no file"):
        _ = source.has_test
    (tmp_path / "file.npz").write_bytes(b"words")
    with pytest.raises(DataError, match="cannot be read"):
        _ = source.has_test


# The validation section


@pytest.mark.parametrize("kind", KEYS)
def test_there_are_three_sections_and_one_that_is_not_there_says_to_split(paths, kind):
    with pytest.raises(DataError, match="'train', 'validation', 'test', expected, found 'val'"):
        made(kind, paths).load("val")
    assert "validation" not in made(kind, paths).sections
    with pytest.raises(DataError, match=r"no validation section; .*split that instead"):
        made(kind, paths).load("validation")


def test_a_validation_section_has_the_classes_of_all_sections(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES)
    parts = {"train": [0, 1, 1], "val": [2, 1, 2], "test": [3, 0, 1]}
    arrays = {f"{part}_labels": np.array(y)[:, None] for part, y in parts.items()}
    arrays |= {f"{part}_images": IMAGES[k : k + 3] for k, part in enumerate(parts)}
    np.savez(tmp_path / "a.npz", **arrays)
    for part, y in parts.items():
        for k, label in enumerate(y):
            home = tmp_path / "folder" / part / str(label)
            home.mkdir(parents=True, exist_ok=True)
            Image.fromarray(IMAGES[k]).save(home / f"{k}.png")
    for kind, path in (("npz", "a.npz"), ("folder", "folder")):
        source = SOURCES.make({"kind": kind, "path": tmp_path / path})
        assert source.sections == ("train", "validation", "test")
        for section, y in zip(source.sections, parts.values(), strict=True):
            data = source.load(section)
            assert data.info.classes == ("0", "1", "2", "3")
            assert sorted(unseal(data).y.tolist()) == sorted(y)


# What messages may say


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (IMAGES / 255, LABELS.astype(int) + 7654.25),
        (IMAGES / 255, LABELS.astype(int) * 0 + 7654),
        (IMAGES / 255, np.tile(LABELS.astype(int) - 7654, (2, 1)).T),
        (IMAGES / 255 + 7654.5, LABELS),
        (IMAGES / 255 - 7654.5, LABELS),
    ],
)
def test_no_message_shows_a_value_of_a_record_or_a_label(tmp_path, x, y):
    np.savez(tmp_path / "file.npz", x=x, y=y)
    with pytest.raises(DataError) as refused:
        SOURCES.make({"kind": "npz", "path": tmp_path / "file.npz"}).load()
    message = str(refused.value).replace(str(tmp_path), "")
    assert not any(value in message for value in ("7654", "7653", "7652", "8765"))


def test_idx_files_are_numbered_by_their_labels_whatever_their_folder_is_called(tmp_path):
    source = SOURCES.make({"kind": "idx", "path": write(tmp_path / "mnist")})
    info = source.load().info
    assert (info.name, info.classes, info.mean) == ("idx", ("0", "1", "2"), (0.5,))
    assert info.taken == ("count", "classes")
