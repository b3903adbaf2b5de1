"""A study is held to the content of its records, and keeps what it holds of them to itself."""

from __future__ import annotations

import json
import shutil
import stat

import numpy as np
import pytest
from ledgers import rewrite_settings, write_events
from sklearn.datasets import load_digits
from tiny import PRIVATE, TINY

from moc.errors import StudyError
from moc.export import export_set
from moc.study.config import parse_config
from moc.study.events import StudyLedger
from moc.study.run import run_study

PIXELS, LABELS = load_digits(return_X_y=True)
X, Y = (PIXELS.reshape(-1, 8, 8) / 16 * 255).round().astype(np.uint8)[:700], LABELS[:700]
SEARCH = {"trials": 1, "batch": 1, "engine": "sobol"}


def tables_of(path, base):
    data = {**TINY["data"], "source": {"kind": "npz", "path": str(path)}}
    data["declared"] = {"count": 700, "classes": 10}
    tables = {**base, "data": data, "search": SEARCH}
    if "privacy" in base:
        ledger = base["privacy"].get("ledger") or str(path.with_name("patients-ledger.jsonl"))
        tables["privacy"] = {**base["privacy"], "ledger": ledger}
    return tables


def study_of(tables, folder):
    return run_study(parse_config(tables, where="test"), folder)


@pytest.fixture(scope="module", params=[PRIVATE, TINY], ids=["private", "open"])
def finished(request, tmp_path_factory):
    """A finished study of a file, and its tables."""
    place = tmp_path_factory.mktemp("held")
    np.savez(place / "patients.npz", x=X, y=Y)
    tables = tables_of(place / "patients.npz", request.param)
    return study_of(tables, place / "study"), tables


@pytest.fixture
def stopped(finished, tmp_path):
    """The same before its front was tested, with a copy of its file."""
    study, tables = finished
    folder, path = tmp_path / "study", tmp_path / "patients.npz"
    shutil.copytree(study.folder, folder)
    events = [e for e in StudyLedger(folder / "study.jsonl").events if e["event"] != "finished"]
    write_events(folder, events)
    tables = tables_of(path, tables)
    rewrite_settings(folder, parse_config(tables, where="test"))
    return folder, path, tables


def test_a_study_goes_on_with_its_own_records_in_whatever_order_only(stopped):
    folder, path, tables = stopped
    spent = (folder / "privacy.jsonl").read_bytes()
    erased, relabelled = (X[1:], Y[1:], 699), (X, (Y + 3) % 10, 700)
    one_pixel = X.copy()
    one_pixel[300, 0, 0] ^= 1
    for x, y, count in (erased, relabelled, (one_pixel, Y, 700)):
        np.savez(path, x=x, y=y)
        tables["data"]["declared"]["count"] = count
        rewrite_settings(folder, parse_config(tables, where="test"))
        with pytest.raises(StudyError, match=r"other records.*never continued on other data"):
            study_of(tables, folder)
        assert (folder / "privacy.jsonl").read_bytes() == spent
    tables["data"]["declared"]["count"] = 700
    rewrite_settings(folder, parse_config(tables, where="test"))
    order = np.random.default_rng(0).permutation(700)
    np.savez(path, x=X[order], y=Y[order])
    assert study_of(tables, folder).complete


def test_data_may_be_moved_but_not_exchanged(finished, tmp_path):
    study, tables = finished
    folder, path = tmp_path / "study", tmp_path / "moved.npz"
    shutil.copytree(study.folder, folder)
    np.savez(path, x=X[::-1], y=Y[::-1])
    moved = tables_of(path, tables)
    assert study_of(moved, folder).complete
    assert json.loads((folder / "config.json").read_text())["data"]["source"]["path"] == str(path)
    before = (folder / "config.json").read_bytes()
    other = X.copy()
    other[300, 0, 0] ^= 1
    np.savez(tmp_path / "other.npz", x=other, y=Y)
    with pytest.raises(StudyError, match="other records"):
        study_of(tables_of(tmp_path / "other.npz", tables), folder)
    with pytest.raises(StudyError, match=r"other settings .*differ in: data"):
        study_of({**moved, "data": {**moved["data"], "split_seed": 5}}, folder)
    assert (folder / "config.json").read_bytes() == before


def test_what_holds_records_is_its_owners_alone(finished):
    study, _ = finished
    assert stat.S_IMODE(study.folder.stat().st_mode) == 0o700
    kept = [study.folder / "sets" / f"{one.name}.safetensors" for one in study.baselines]
    assert len(kept) == 3
    for path in (*kept, study.folder / "privacy.jsonl"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_fingerprint_and_the_name_of_the_file_stay_at_home(finished, tmp_path):
    from moc.views.page import write_page

    study, tables = finished
    event = json.loads((study.folder / "privacy.jsonl").read_text().splitlines()[0])
    assert event["event"] == "data"
    assert set(event["data"]) == {"train", "reference", "validation", "test"}
    folder = export_set(study, study.front[0], tmp_path / "out")
    write_page(study, tmp_path / "out" / "report.html")
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not [one for one in event["data"].values() if one.encode() in written]
    handed_on = b"".join(
        path.read_bytes() for path in folder.iterdir() if path.name != "report.html"
    )
    for secret in ("patients", str(tmp_path.parent), tables["data"]["source"]["path"]):
        assert secret.encode() not in handed_on
    assert json.loads((folder / "card.json").read_text())["data"]["taken"] == []
    assert "Declared beforehand, or published: the number of records, the classes, mean, std." in (
        (folder / "README.md").read_text()
    )


def test_a_study_without_a_trial_takes_new_settings_and_other_records(tmp_path):
    path, folder = tmp_path / "d.npz", tmp_path / "study"
    np.savez(path, x=X, y=Y)
    folder.mkdir()
    (folder / "config.json").write_text("")
    write_events(folder, [{"event": "started", "rungs": []}])
    (folder / "privacy.jsonl").write_text(
        '{"event": "data", "key": "data", "data": {"train": "another"}}\n'
    )
    evaluate = {**TINY["evaluate"], "report_replicates": 0}
    assert study_of({**tables_of(path, TINY), "evaluate": evaluate}, folder).complete
    assert len(StudyLedger(folder / "study.jsonl").all("started")) == 1


@pytest.mark.parametrize("base", [PRIVATE, TINY], ids=["private", "open"])
def test_too_few_records_for_a_baseline_are_refused_with_nothing_left(tmp_path, base):
    path = tmp_path / "d.npz"
    rare = np.concatenate([np.flatnonzero(Y != 9)[:600], np.flatnonzero(Y == 9)[:3]])
    np.savez(path, x=X[rare], y=Y[rare])
    tables = tables_of(path, {**base, "condense": {"images_per_class": 3, "steps": 2}})
    tables["data"]["declared"]["count"] = len(rare)
    with pytest.raises(StudyError, match=r"class '9'.*more records.*fewer images"):
        study_of(tables, tmp_path / "study")
    assert not (tmp_path / "study").exists()
