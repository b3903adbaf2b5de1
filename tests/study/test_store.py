"""The study ledger: append-only, and whole after a kill at any byte."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moc.errors import StudyError
from moc.study.store import StudyLedger


def test_events_come_back_in_order(tmp_path):
    ledger = StudyLedger(tmp_path / "study.jsonl")
    ledger.append("asked", batch=0, trials=[1, 2])
    ledger.append("asked", batch=1, trials=[3])
    again = StudyLedger(tmp_path / "study.jsonl")
    assert again.events == ledger.events
    assert again.find("asked", batch=1) == {"event": "asked", "batch": 1, "trials": [3]}
    assert again.find("asked", batch=2) is None
    assert len(again.all("asked")) == 2


@given(cut=st.integers(0, 200))
def test_a_torn_last_line_is_dropped_and_the_next_event_is_whole(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("ledger") / "study.jsonl"
    first = StudyLedger(path)
    for number in range(3):
        first.append("scored", trial=number, scores={"error": [0.1, 0.01]})
    raw = path.read_bytes()
    path.write_bytes(raw[: min(cut, len(raw))])
    resumed = StudyLedger(path)
    assert resumed.events == first.events[: len(resumed.events)]
    resumed.append("finished")
    assert StudyLedger(path).events == [
        *first.events[: len(resumed.events) - 1],
        {"event": "finished"},
    ]
    for line in path.read_text().splitlines():
        json.loads(line)


def test_infinity_is_never_written(tmp_path):
    with pytest.raises(ValueError, match=r"[Oo]ut of range"):
        StudyLedger(tmp_path / "study.jsonl").append("scored", epsilon=float("inf"))


def test_a_foreign_line_is_named(tmp_path):
    path = tmp_path / "study.jsonl"
    path.write_text('{"event": "asked"}\nnot json\n')
    with pytest.raises(StudyError, match="Line 2"):
        StudyLedger(path)
