"""The study ledger: append-only, whole after a kill at any byte, and telling its own damage."""

import errno
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moc.errors import StudyError
from moc.lines import to_line
from moc.study.events import StudyLedger


def scored(path, trials=3):
    ledger = StudyLedger(path)
    for number in range(trials):
        ledger.append("scored", trial=number, scores={"error": [0.1, 0.01]})
    return ledger


def test_events_come_back_in_order(tmp_path):
    ledger = StudyLedger(tmp_path / "study.jsonl")
    ledger.append("asked", batch=0, trials=[1, 2])
    ledger.append("asked", batch=1, trials=[3])
    again = StudyLedger(tmp_path / "study.jsonl")
    assert again.events == ledger.events
    assert again.find("asked", batch=1) == {"event": "asked", "batch": 1, "trials": [3]}
    assert again.find("asked", batch=2) is None
    assert len(again.all("asked")) == 2


@given(cut=st.integers(0, 300))
def test_a_torn_last_line_is_dropped_and_the_next_event_is_whole(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("ledger") / "study.jsonl"
    first = scored(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: min(cut, len(raw))])
    resumed = StudyLedger(path)
    known = list(resumed.events)
    assert known == first.events[: len(known)]
    assert bool(resumed.damage) == (raw[:cut][-1:] not in (b"", b"\n"))
    resumed.append("finished")
    again = StudyLedger(path)
    assert again.events == [*known, {"event": "finished"}]
    assert again.damage == ""


@example(place=424, bit=0)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_named_or_where_it_is_in_the_last_line_the_line_left_out(
    tmp_path_factory, place, bit
):
    path = tmp_path_factory.mktemp("ledger") / "study.jsonl"
    events, raw = scored(path).events, bytearray(path.read_bytes())
    place %= len(raw)
    raw[place] ^= 1 << bit
    path.write_bytes(raw)
    line = bytes(raw[:place]).count(b"\n") + 1
    if raw.count(b"\n") < 3 and line == 2:  # the end of line 2: it and the last are one torn line
        left = StudyLedger(path)
        assert left.events == events[:1]
        assert "line 2" in left.damage
    elif line < 3:
        with pytest.raises(StudyError, match=rf"Line {line} of .* not a study event, or was chang"):
            StudyLedger(path)
    else:
        left = StudyLedger(path)
        assert left.events == events[:2]
        assert "line 3" in left.damage


def test_a_reader_changes_nothing_while_a_line_is_written(tmp_path):
    path = tmp_path / "study.jsonl"
    writer = scored(path, 1)
    line = to_line({"event": "finished"})
    with path.open("ab", buffering=0) as file:
        file.write(line[:20])
        reader = StudyLedger(path)
        assert reader.events == writer.events
        file.write(line[20:])
    assert StudyLedger(path).events[-1] == {"event": "finished"}


def test_what_another_process_wrote_is_never_written_over(tmp_path):
    path = tmp_path / "study.jsonl"
    ledger = scored(path)
    StudyLedger(path).append("finished")
    before = path.read_bytes()
    with pytest.raises(StudyError, match="Another process wrote"):
        ledger.append("scored", trial=9)
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_full_disk_leaves_no_part_of_a_line(tmp_path, monkeypatch, share):
    path = tmp_path / "study.jsonl"
    ledger = scored(path)
    write, before = os.write, path.read_bytes()

    def full(place, data):
        if len(data) < 20 or not share:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(place, data[: int(share * len(data))])

    with monkeypatch.context() as plant:
        plant.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left") as caught:
            ledger.append("scored", trial=3)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    ledger.append("scored", trial=3)
    assert StudyLedger(path).events == ledger.events
    assert len(ledger.events) == 4


def test_a_lost_set_is_not_made_until_it_is_condensed_again(tmp_path):
    ledger = StudyLedger(tmp_path / "study.jsonl")
    assert ledger.made(0) is None
    ledger.append("condensed", trial=0, seconds=1.0)
    ledger.append("lost", trial=0)
    assert ledger.made(0) is None
    ledger.append("condensed", trial=0, seconds=2.0)
    assert StudyLedger(ledger.path).made(0)["seconds"] == 2.0


def test_infinity_is_never_written(tmp_path):
    with pytest.raises(ValueError, match=r"[Oo]ut of range"):
        StudyLedger(tmp_path / "study.jsonl").append("scored", epsilon=float("inf"))


def test_a_foreign_line_is_named(tmp_path):
    path = tmp_path / "study.jsonl"
    path.write_bytes(b"not json\n" + to_line({"event": "asked"}))
    with pytest.raises(StudyError, match="Line 1"):
        StudyLedger(path)
