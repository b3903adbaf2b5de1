"""The settings that a study folder keeps: whole, of one format, and known wherever it lies."""

import json
import shutil

import pytest
from ledgers import write_events
from tiny import TINY

from moc.errors import StudyError
from moc.study.config import parse_config
from moc.study.run import run_study
from moc.study.settings import (
    FORMAT,
    digest,
    identity_of,
    read_settings,
    refuse_other_settings,
    write_settings,
)
from moc.study.store import read_study

CONFIG = parse_config(TINY, where="test")


def test_settings_come_back_and_a_moved_folder_is_the_same_one(tmp_path):
    write_settings(CONFIG, tmp_path)
    assert read_settings(tmp_path) == CONFIG.model_dump(mode="json")
    known = identity_of(tmp_path)
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert identity_of(moved) == known
    (moved / "other").mkdir()
    write_settings(CONFIG, moved / "other")
    assert identity_of(moved / "other") != known


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"moc": 3}', '{"moc": {"format": "2"}}'])
def test_damaged_settings_are_named_and_written_again_by_the_study_they_are_of(tmp_path, damage):
    write_settings(CONFIG, tmp_path)
    whole = read_settings(tmp_path)
    write_events(tmp_path, [{"event": "started", "settings": digest(CONFIG)}])
    (tmp_path / "config.json").write_text(damage)
    with pytest.raises(StudyError, match="is empty or damaged: run the command"):
        read_study(tmp_path)
    other = parse_config({**TINY, "seed": 4}, where="test")
    with pytest.raises(StudyError, match="is empty or damaged"):
        refuse_other_settings(other, tmp_path)
    assert "written again" in refuse_other_settings(CONFIG, tmp_path)
    assert read_settings(tmp_path) == whole


def test_lost_settings_of_a_finished_study_come_back(tiny_open, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(tiny_open.folder, folder)
    (folder / "config.json").unlink()
    assert run_study(CONFIG, folder).trials == tiny_open.trials


def test_an_older_study_folder_is_refused_in_a_sentence_and_left_alone(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.model_dump(mode="json")))
    (tmp_path / "study.jsonl").write_text('{"event": "started", "rungs": []}\n')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for use in (read_study, lambda folder: run_study(CONFIG, folder)):
        with pytest.raises(StudyError, match=rf"in format 1 and this moc reads format {FORMAT}"):
            use(tmp_path)
    (tmp_path / "lock").unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
