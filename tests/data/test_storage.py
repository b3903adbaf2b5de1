from __future__ import annotations

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
            factor=1 if len(shape) == 1 else draw(st.integers(1, 2)),
            copies=draw(st.integers(1, 3)),
            noise=draw(shares),
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


def test_sets_of_the_first_versions_are_read(tmp_path):
    with safe_open(stored(tmp_path / "set"), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in ("x", "labels")}
        meta = {"info": file.metadata()["info"], "factor": "1"}
    save_file(tensors, tmp_path / "old", metadata=meta)
    assert load_set(tmp_path / "old").decoder == Decoder()


@given(at=st.integers(0, 10**6))
def test_a_truncated_file_is_refused(tmp_path_factory, at):
    path = stored(tmp_path_factory.mktemp("sets") / "set")
    raw = path.read_bytes()
    path.write_bytes(raw[: at % len(raw)])
    with pytest.raises(DataError, match="truncated"):
        load_set(path)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="found no file"):
        load_set(tmp_path / "none")
    save_file({"x": torch.ones(2)}, tmp_path / "foreign")
    with pytest.raises(DataError, match="no description"):
        load_set(tmp_path / "foreign")
