from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from moc.data import DataInfo, Decoder, SyntheticSet, load_set, save_set
from moc.errors import DataError

shares = st.floats(0, 1, width=32)


@st.composite
def sets(draw):
    """Sets of images or vectors, with names of any kind and soft labels."""
    shape = draw(st.sampled_from([(1, 4, 4), (3, 4, 6), (5,)]))
    classes = draw(st.lists(st.text(), min_size=2, max_size=4).map(tuple))
    m, seed = draw(st.integers(1, 5)), draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    return SyntheticSet(
        info=DataInfo(
            name=draw(st.text()),
            shape=shape,
            classes=classes,
            count=draw(st.integers(1, 10**9)),
            mean=draw(st.lists(shares, min_size=1, max_size=3).map(tuple)),
            std=draw(st.lists(shares, min_size=1, max_size=3).map(tuple)),
            mirrored=draw(st.booleans()),
        ),
        x=torch.rand(m, *shape, generator=generator),
        labels=torch.rand(m, len(classes), generator=generator).softmax(1),
        decoder=Decoder(
            multi_formation=1 if len(shape) == 1 else draw(st.integers(1, 2)),
            noise_copies=draw(st.integers(1, 3)),
            noise=draw(st.floats(0.01, 1)),
        ),
    )


@given(synthetic=sets())
def test_loading_inverts_saving(tmp_path_factory, synthetic):
    path = tmp_path_factory.mktemp("sets") / "deep" / "set.safetensors"
    assert save_set(synthetic, path) == path
    loaded = load_set(path)
    assert loaded.info == synthetic.info
    assert loaded.decoder == synthetic.decoder
    assert torch.equal(loaded.x, synthetic.x)
    assert torch.equal(loaded.labels, synthetic.labels)
    assert [entry.name for entry in path.parent.iterdir()] == ["set.safetensors"]


def stored(path):
    info = DataInfo(name="toy", shape=(2,), classes=("a", "b"), count=9)
    return save_set(SyntheticSet(info=info, x=torch.rand(2, 2), labels=torch.eye(2)), path)


def test_a_view_of_a_larger_batch_is_stored_alone(tmp_path):
    batch = torch.rand(50, 2, 2)
    info = DataInfo(name="toy", shape=(2,), classes=("a", "b"), count=9)
    one = SyntheticSet(info=info, x=batch[:, 0], labels=torch.eye(2).repeat(25, 1))
    loaded = load_set(save_set(one, tmp_path / "set"))
    assert torch.equal(loaded.x, batch[:, 0])
    assert (tmp_path / "set").stat().st_size < 2000


def rewritten(path, *, tensors=None, drop=(), **meta):
    """A stored set, with something else in it."""
    with safe_open(stored(path), framework="pt") as file:
        there = {name: file.get_tensor(name) for name in ("x", "labels")} | (tensors or {})
        facts = {
            name: json.dumps(part) for name, part in json.loads(file.metadata()["moc"]).items()
        }
    facts |= meta
    told = ", ".join(f'"{name}": {text}' for name, text in facts.items() if name not in drop)
    save_file(
        {name: tensor for name, tensor in there.items() if name not in drop},
        path,
        metadata={"moc": f"{{{told}}}"},
    )
    return path


INFO = {"name": "toy", "shape": [2], "classes": ["a", "b"], "count": 9}


@pytest.mark.parametrize(
    "info",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '"words"',
        "{}",
        json.dumps(INFO | {"count": "9"}),
        json.dumps(INFO | {"count": None}),
        json.dumps(INFO | {"shape": 2}),
        json.dumps(INFO | {"shape": ["2"]}),
        json.dumps(INFO | {"classes": "ab"}),
        json.dumps(INFO | {"mean": [None]}),
        json.dumps(INFO | {"colour": "red"}),
    ],
)
def test_a_description_that_is_none_is_refused(tmp_path, info):
    with pytest.raises(DataError, match="its description does not fit"):
        load_set(rewritten(tmp_path / "set", info=info))


@pytest.mark.parametrize(
    "decoder", ["", "[]", '{"factor": 2}', '{"multi_formation": 0}', '{"multi_formation": "2"}']
)
def test_a_decoder_that_is_none_is_refused(tmp_path, decoder):
    with pytest.raises(DataError, match="its description does not fit"):
        load_set(rewritten(tmp_path / "set", decoder=decoder))


@pytest.mark.parametrize("missing", ["info", "decoder", "x", "labels"])
def test_a_set_without_one_of_its_parts_is_refused(tmp_path, missing):
    with pytest.raises(DataError, match="its description does not fit"):
        load_set(rewritten(tmp_path / "set", drop=(missing,)))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x": torch.rand(2, 3)}, r"A synthetic set of records \(2,\) expected"),
        ({"x": torch.tensor(0.5)}, r"records \(2,\) expected"),
        ({"x": torch.rand(0, 2), "labels": torch.rand(0, 2)}, "at least one record"),
        ({"x": torch.full((2, 2), torch.nan)}, "finite"),
        ({"labels": torch.ones(2, 2)}, "sum to one"),
        ({"labels": torch.tensor(1.0)}, "Labels of shape"),
        ({"labels": torch.eye(2, dtype=torch.int64)}, "float32"),
        ({"x": torch.zeros(2, 2, dtype=torch.float64)}, "float32"),
    ],
)
def test_arrays_that_are_no_set_are_refused_by_the_name_of_the_file(tmp_path, tensors, message):
    with pytest.raises(DataError, match=message) as refused:
        load_set(rewritten(tmp_path / "set", tensors=tensors))
    assert str(tmp_path / "set") in str(refused.value)


def test_a_set_of_other_numbers_is_stored_as_float32(tmp_path):
    info = DataInfo(name="toy", shape=(2,), classes=("a", "b"), count=9)
    x = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.eye(2, dtype=torch.float64)
    loaded = load_set(save_set(SyntheticSet(info=info, x=x, labels=labels), tmp_path / "set"))
    assert torch.equal(loaded.x, x.detach().float())
    assert loaded.labels.dtype == torch.float32


def test_equal_sets_are_equal_files(tmp_path):
    one = load_set(stored(tmp_path / "set"))
    first, *others = (save_set(one, tmp_path / str(k)).read_bytes() for k in range(8))
    assert all(other == first for other in others)


@given(at=st.integers(0, 10**6))
def test_a_truncated_file_is_refused(tmp_path_factory, at):
    path = stored(tmp_path_factory.mktemp("sets") / "set")
    raw = path.read_bytes()
    path.write_bytes(raw[: at % len(raw)])
    with pytest.raises(DataError, match="truncated"):
        load_set(path)


def test_missing_empty_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="found no file"):
        load_set(tmp_path / "none")
    with pytest.raises(DataError, match="found no file"):
        load_set(tmp_path)
    for raw in (b"", b"words", bytes(64), b"\xff" * 64):
        (tmp_path / "foreign").write_bytes(raw)
        with pytest.raises(DataError, match="truncated"):
            load_set(tmp_path / "foreign")
    save_file({"x": torch.ones(2)}, tmp_path / "foreign")
    with pytest.raises(DataError, match="its description does not fit"):
        load_set(tmp_path / "foreign")
