"""What is lost or changed in a study folder is made again where that is the same, or named."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import read_events, write_events
from privacy.private_tools import LADDER, small, toy
from tiny import PRIVATE, TINY

from moc.data.curve import load_curve
from moc.data.storage import load_set
from moc.errors import MocError, PrivacyError, StudyError
from moc.privacy.access import Budget
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.study.config import parse_config
from moc.study.mending import fault_of
from moc.study.reporter import Silent
from moc.study.run import run_study
from moc.study.store import read_study

QUICK = {
    **TINY,
    "name": "quick",
    "evaluate": {**TINY["evaluate"], "report_replicates": 0},
    "data": {**TINY["data"], "reference": 0},
    "search": {"trials": 2, "batch": 2, "engine": "sobol"},
}
APART = {
    **QUICK,
    "name": "apart",
    "condense": {**TINY["condense"], "front": "apart"},
    "search": {"trials": 1, "batch": 1, "engine": "sobol"},
}
QUICK_PRIVATE = {**QUICK, **{key: PRIVATE[key] for key in ("privacy", "rounds", "evidence")}}


class Said(Silent):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def go_on(tables, folder):
    said = Said()
    return run_study(parse_config(tables, where="test"), folder, reporter=said), said.lines


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return go_on(QUICK, tmp_path_factory.mktemp("quick") / "study")[0]


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    return go_on(APART, tmp_path_factory.mktemp("apart") / "study")[0]


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    return go_on(QUICK_PRIVATE, tmp_path_factory.mktemp("private") / "study")[0]


def cut(source, folder, until):
    """A copy of a study, as it was after the first event that `until` holds for."""
    shutil.copytree(source, folder)
    events = read_events(folder)
    last = next(k for k, event in enumerate(events) if until(event))
    write_events(folder, events[: last + 1])
    return folder


def _last_scored(event):
    return event["event"] == "scored" and event["trial"] == 3


def condensed(event):
    return event["event"] == "condensed"


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "a bit flipped": lambda path: flip(path, -3),
    "gone": lambda path: path.unlink(),
}


def flip(path, place):
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_set_that_is_not_scored_yet_is_condensed_again(quick, apart, tmp_path, damage):
    for study, tables in ((quick, QUICK), (apart, APART)):
        folder = cut(study.folder, tmp_path / study.name, condensed)
        whole = (folder / "sets/trial-000.safetensors").read_bytes()
        DAMAGE[damage](folder / "sets/trial-000.safetensors")
        again, said = go_on(tables, folder)
        assert [trial.scores for trial in again.trials] == [t.scores for t in study.trials]
        assert (folder / "sets/trial-000.safetensors").read_bytes() == whole
        assert sum("It is condensed again." in line for line in said) == 1


def test_a_scored_set_is_taken_from_its_curve_again(quick, tmp_path):
    folder = cut(quick.folder, tmp_path / "study", _last_scored)
    path = folder / "sets/trial-003.safetensors"
    whole = path.read_bytes()
    path.write_bytes(b"")
    again, said = go_on(QUICK, folder)
    assert path.read_bytes() == whole
    assert again.trials == quick.trials
    assert any("is taken from its curve again" in line for line in said)


def test_a_set_of_a_finished_study_is_taken_from_its_curve_again_or_named(quick, apart, tmp_path):
    for study in (quick, apart):
        shutil.copytree(study.folder, tmp_path / study.name)
    path = tmp_path / "quick/sets/trial-002.safetensors"
    whole = path.read_bytes()
    path.unlink()
    again, said = go_on(QUICK, tmp_path / "quick")
    assert again.trials == quick.trials
    assert path.read_bytes() == whole
    assert sum("is taken from its curve again" in line for line in said) == 1
    (tmp_path / "apart/sets/trial-002.safetensors").unlink()
    with pytest.raises(StudyError, match="trial-002 is scored, and its set is lost"):
        go_on(APART, tmp_path / "apart")


def test_a_scored_set_that_nothing_gives_again_is_named(apart, tmp_path):
    folder = cut(apart.folder, tmp_path / "study", lambda e: e["event"] == "scored")
    scored = read_events(folder)[-1]["trial"]
    flip(folder / f"sets/trial-{scored:03d}.safetensors", -1)
    with pytest.raises(StudyError, match=rf"trial-{scored:03d} is scored, and its set is lost.*co"):
        go_on(APART, folder)


def test_a_curve_that_is_damaged_is_condensed_again(quick, tmp_path):
    folder = cut(quick.folder, tmp_path / "study", lambda e: e["event"] == "curve")
    path = folder / "curves/rung-0.safetensors"
    whole = path.read_bytes()
    flip(path, -2)
    again, _ = go_on(QUICK, folder)
    assert path.read_bytes() == whole
    assert [trial.scores for trial in again.trials] == [t.scores for t in quick.trials]


def test_an_edited_last_line_is_left_out_said_and_its_work_done_again(quick, tmp_path):
    folder = cut(quick.folder, tmp_path / "study", lambda e: e["event"] == "scored")
    path = folder / "study.jsonl"
    edited = path.read_bytes()
    place = edited.rfind(b'"seconds"')
    path.write_bytes(edited[:place] + edited[place:].replace(b"0.", b"9.", 1))
    again, said = go_on(QUICK, folder)
    assert [trial.scores for trial in again.trials] == [t.scores for t in quick.trials]
    assert any(line.startswith("Left out: line ") for line in said)


def test_a_line_that_was_edited_before_the_last_is_named(quick, tmp_path):
    folder = cut(quick.folder, tmp_path / "study", lambda e: e["event"] == "scored")
    path = folder / "study.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"rung": 0', b'"rung": 1', 1))
    for use in (read_study, lambda place: go_on(QUICK, place)):
        with pytest.raises(StudyError, match=r"Line \d+ of .* was changed"):
            use(folder)


def test_damaged_proxies_are_made_again_and_a_damaged_release_is_named(private, tmp_path):
    folder = cut(private.folder, tmp_path / "study", condensed)
    proxies = sorted((folder / "proxies").iterdir())
    whole = [path.read_bytes() for path in proxies]
    flip(proxies[0], -1)
    again, _ = go_on(QUICK_PRIVATE, folder)
    assert [path.read_bytes() for path in proxies] == whole
    assert [trial.scores for trial in again.trials] == [t.scores for t in private.trials]
    folder = cut(private.folder, tmp_path / "other", condensed)
    flip(folder / "release-0" / "rung-1.safetensors", -1)
    with pytest.raises(PrivacyError, match=r"rung-1.safetensors is damaged.*never drawn again"):
        go_on(QUICK_PRIVATE, folder)


def test_a_changed_line_of_a_privacy_ledger_is_named(private, tmp_path):
    folder = cut(private.folder, tmp_path / "study", condensed)
    path = folder / "privacy.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"count": 1', b'"count": 0', 1))
    with pytest.raises(PrivacyError, match=r"Line \d+ of .* was changed"):
        go_on(QUICK_PRIVATE, folder)


@settings(max_examples=60)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_set_or_curve_is_found_or_does_no_harm(
    quick, tmp_path_factory, place, bit
):
    kept = tmp_path_factory.mktemp("bits") / "kept.safetensors"
    for name, load in (("sets/trial-000", load_set), ("curves/rung-0", load_curve)):
        path = quick.folder / f"{name}.safetensors"
        raw, whole = bytearray(path.read_bytes()), load(path)
        raw[place % len(raw)] ^= 1 << bit
        kept.write_bytes(raw)
        if fault := fault_of(kept, load):
            assert "kept.safetensors" in fault
        else:  # in the name of the checksum, or in blanks
            found = load(kept)
            assert (found.info, found.decoder) == (whole.info, whole.decoder)
            assert torch.equal(found.x, whole.x)
            assert torch.equal(found.labels, whole.labels)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A drawn release, with its ledger."""
    place = tmp_path_factory.mktemp("release")
    ledger = Ledger(Budget(epsilon=8.0), path=place / "privacy.jsonl")
    ledger.own("train", toy())
    draw(ledger, small(toy().info), LADDER, folder=place / "release")
    return place


@settings(max_examples=40)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_release_is_found(release, tmp_path_factory, place, bit):
    folder = tmp_path_factory.mktemp("bits") / "study"
    shutil.copytree(release, folder)
    path = folder / "release" / "rung-1.safetensors"
    raw = bytearray(path.read_bytes())
    where = place % len(raw)
    if raw[where] == ord(" "):
        return  # padding of the header
    raw[where] ^= 1 << bit
    path.write_bytes(raw)
    ledger = Ledger(Budget(epsilon=8.0), path=folder / "privacy.jsonl")
    ledger.own("train", toy())
    with pytest.raises(MocError, match=r"rung-1.safetensors"):
        draw(ledger, small(toy().info), LADDER, folder=folder / "release")
