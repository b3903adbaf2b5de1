"""T in files that are read one by one: the same records, divided, known and summed alike."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fast_trials import outcome
from privacy.private_tools import moments, real
from safetensors.numpy import save_file
from tiny import TINY

from moc.data.sources import SOURCES
from moc.data.vault import copies, unseal
from moc.errors import DataError, StudyError
from moc.privacy.ledger import Ledger
from moc.privacy.shards import Workers, sums_of
from moc.study.config import parse_config
from moc.study.run import run_study

COUNT, SIZES = 500, [40, 60, 300]


def written(folder, *, sizes=(200, 1, 299), end=".npz", side=8):
    """Random images of ten classes in one file, and the same in shards."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (COUNT, side, side), dtype=np.uint8)
    y = rng.permutation(np.arange(COUNT) % 10)
    np.savez(folder / "whole.npz", x=x, y=y)
    (folder / "shards").mkdir()
    for k, stop in enumerate(np.cumsum(sizes)):
        part = {"x": x[stop - sizes[k] : stop], "y": y[stop - sizes[k] : stop]}
        if end == ".npz":
            np.savez(folder / "shards" / f"{k}.npz", **part)
        else:
            save_file(
                {n: a.copy() for n, a in part.items()}, folder / "shards" / f"{k}.safetensors"
            )
    return folder


def loaded(folder):
    return SOURCES.make({"kind": "npz", "path": folder / "whole.npz"}).load()


def streamed(folder, *, records=100, each=64):
    """The same from shards, of which so many records are loaded at most."""
    memory = records * each / 2**30
    return SOURCES.make({"kind": "shards", "path": folder / "shards", "memory": memory}).load()


@pytest.mark.parametrize("end", [".npz", ".safetensors"])
def test_streamed_records_are_known_and_divided_as_those_in_memory(tmp_path, end):
    here, there = loaded(written(tmp_path, end=end)), streamed(tmp_path)
    assert here.info == there.info.__class__(**{**vars(there.info), "name": here.info.name})
    assert here.fingerprint() == there.fingerprint()
    assert here.digests() == there.digests()
    parts = [data.split(SIZES, seed=3) for data in (here, there)]
    for one, other in zip(*parts, strict=True):
        assert one.fingerprint() == other.fingerprint()
        assert one.digests() == other.digests()
    for one, other in zip(*(part[:2] for part in parts), strict=True):  # small, so loaded
        assert torch.equal(unseal(one).x, unseal(other).x)
        assert torch.equal(unseal(one).y, unseal(other).y)
    ledgers = Ledger(None), Ledger(None)
    for ledger, part in zip(ledgers, parts, strict=True):
        ledger.own("train", part[2])
    assert [ledger.streams("train") for ledger in ledgers] == [False, True]
    assert ledgers[0].hold() == ledgers[1].hold() == ()
    with pytest.raises(DataError, match="These 300 records are streamed"):
        _ = unseal(parts[1][2]).x


def test_what_fits_into_memory_is_loaded(tmp_path):
    here, there = loaded(written(tmp_path)), streamed(tmp_path, records=COUNT)
    assert torch.equal(unseal(here).x, unseal(there).x)
    assert torch.equal(unseal(here).y, unseal(there).y)


@pytest.mark.parametrize("sizes", [(500,), (200, 1, 299), (63, 64, 65, 308)])
def test_sums_of_streamed_records_are_those_in_memory_to_the_last_bit(tmp_path, sizes):
    here, there = loaded(written(tmp_path, sizes=sizes)), streamed(tmp_path)
    collection = real(here.info, statistics=moments(second=0.5), width=8)
    for one, other in zip(here.split(SIZES, seed=1), there.split(SIZES, seed=1), strict=True):
        expected = collection.sums(unseal(one)).flat()
        assert torch.equal(collection.sums(unseal(other)).flat(), expected)
        assert torch.equal(by_workers(collection, unseal(other)), expected)


def by_workers(collection, records):
    """Sums by processes that get no record, only where they lie."""

    def run(shards, progress):
        for number, shard in enumerate(shards):
            sent = pickle.dumps(shard)
            assert records.size < 64 * 300 or len(sent) < records.size
            yield number, pickle.loads(sent).sum()

    workers = Workers(count=2, run=run)
    return sums_of(collection, records, private=True, workers=workers).flat()


def test_copies_are_found_and_records_left_out(tmp_path):
    data = streamed(written(tmp_path))
    first, second = data.split([250, 250], seed=0)
    assert not any(mask.any() for mask in copies({"train": first, "test": second}).values())
    assert copies({"train": data, "test": first})["test"].all()
    kept = torch.arange(COUNT) % 2 == 0
    left = data.thinned(kept, declared=COUNT)
    assert len(left.digests()) == COUNT / 2
    collection = real(data.info, statistics=moments())
    expected = collection.sums(unseal(loaded(tmp_path).thinned(kept, declared=COUNT)))
    assert torch.equal(collection.sums(unseal(left)).flat(), expected.flat())


def test_a_file_that_changes_while_it_is_worked_on_is_refused(tmp_path):
    data = streamed(written(tmp_path, sizes=(100, 400)))
    other = np.load(tmp_path / "shards" / "0.npz")
    np.savez(tmp_path / "shards" / "0.npz", x=255 - other["x"], y=other["y"])
    with pytest.raises(DataError, match=r"0.npz has changed"):
        real(data.info, statistics=moments()).sums(unseal(data))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((3, 8, 8))}, "found no y"),
        ({"x": np.zeros((3, 8, 8)), "y": [0, 1, 2]}, "torch.uint8 records as in 0.npz"),
        ({"x": np.full((3, 8, 8), 9.0), "y": [0, 1, 2]}, "torch.uint8 records as in 0.npz"),
        ({"x": np.zeros((3, 8, 9), np.uint8), "y": [0, 1, 2]}, r"records of shape \(1, 8, 8\)"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "y": [0, 1, 2]}, "has changed|2 records"),
    ],
)
def test_files_that_do_not_go_together_are_refused(tmp_path, arrays, words):
    written(tmp_path)
    np.savez(tmp_path / "shards" / "9.npz", **arrays)
    with pytest.raises(DataError, match=words):
        streamed(tmp_path)


def test_a_dark_file_is_one_of_bytes_but_a_dark_folder_is_not(tmp_path):
    written(tmp_path)
    dark = np.eye(8, dtype=np.uint8)[None]
    np.savez(tmp_path / "shards" / "9.npz", x=dark, y=[0])
    assert len(streamed(tmp_path)) == COUNT + 1
    for one in (tmp_path / "shards").glob("*"):
        np.savez(one, x=np.concatenate([dark, dark]), y=[0, 1])
    with pytest.raises(DataError, match="none of these exceeds 1"):
        streamed(tmp_path)


def study_on(folder, source, **tables):
    data = study_data(source)
    evidence = {"evidence": "moments", "rounds": [{"networks": ["convnet2-w8"], "count": 3}]}
    losses = {"objectives": {"error": {}, "stored_bytes": {}}}
    return parse_config({**TINY, **evidence, **losses, "data": data, **tables}, where="test")


def test_an_open_study_of_sums_is_the_same_and_one_of_samples_is_refused(tmp_path):
    written(tmp_path)
    found = []
    shards = {"kind": "shards", "path": tmp_path / "shards", "memory": 100 * 64 / 2**30}
    for source in ({"kind": "npz", "path": tmp_path / "whole.npz"}, shards):
        folder = tmp_path / source["kind"]
        run_study(study_on(tmp_path, source), folder)
        found.append(outcome(folder))
    assert found[0] == found[1]
    for changes, words in (
        ({"evidence": TINY["evidence"], "rounds": []}, "kind = 'samples' reads single records"),
        ({"data": {**study_data(shards), "reference": 0}}, "Baselines are real records"),
        (
            {"data": {**study_data(shards), "train": 240, "validation": 110}},
            "The validation records",
        ),
    ):
        with pytest.raises(StudyError, match=words):
            run_study(study_on(tmp_path, shards, **changes), tmp_path / "refused")
        assert not (tmp_path / "refused").exists()


def study_data(source):
    parts = {"train": 300, "validation": 60, "test": 60, "reference": 80}
    return {"source": source, "declared": {"name": "random"}, **parts}


PASS = """
import sys
from pathlib import Path
from moc.data.sources import SOURCES
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.privacy.collect import Collection
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_means import ClassMeans
def peak(folder):
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
    data = SOURCES.make({"kind": "shards", "path": folder, "memory": 0}).load()
    ledger = Ledger(None)
    info = ledger.own("train", data)
    ledger.hold()
    bank = Bank(info=info, networks=(parse_network("convnet1-w2"),), seed=0)
    collection = Collection(bank=bank, networks=1, statistics=(ClassMeans(),), batch=64)
    draw(ledger, collection, None, folder=Path(folder) / "out")
    status = Path("/proc/self/status").read_text()
    return status.split("VmHWM:")[1].split()[0]
print(*map(peak, sys.argv[1:]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc")
def test_the_memory_of_the_pass_is_flat_in_n(tmp_path):
    """What grows is an index of some 300 bytes a record; a record here has 12,288."""
    rng, side, each, folders = np.random.default_rng(0), 64, 400, []
    for shards in (1, 2, 8):  # the first time something is left from imports
        folder = tmp_path / f"{shards}"
        folder.mkdir()
        for k in range(shards):
            x = rng.integers(0, 256, (each, 3, side, side), dtype=np.uint8)
            np.savez(folder / f"{k}.npz", x=x, y=np.arange(each) % 10)
        folders.append(str(folder))
    # What is freed goes back to the system at once, so that the peak is what is held.
    exact = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    words = [sys.executable, "-c", PASS, *folders]
    done = subprocess.run(words, env=exact, capture_output=True, text=True, check=True)
    peaks = [int(one) * 1024 for one in done.stdout.split()][1:]
    more = 6 * each * 3 * side * side
    assert more > 25e6
    assert peaks[1] - peaks[0] < 0.15 * more, peaks
