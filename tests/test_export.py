"""The exported folder: the same set, and a card that neither hides nor invents anything."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_study import MORE, fake_set, fake_study
from PIL import Image

from moc.data.storage import load_set, save_set
from moc.data.synthetic import Decoder
from moc.errors import PolicyError
from moc.export import export_set
from moc.privacy.access import ADJACENCY
from moc.views.contact_sheet import contact_sheet


@pytest.fixture
def study(tmp_path):
    return fake_study(tmp_path / "study")


def strict(path):
    return json.loads(path.read_text(), parse_constant=pytest.fail)


def test_the_stored_form_survives(study, tmp_path):
    number = study.front[0]
    folder = export_set(study, number, tmp_path / "out")
    ours, theirs = (
        load_set(folder / "set.safetensors"),
        load_set(study.folder / study.trial(number).set_path),
    )
    assert torch.equal(ours.x, theirs.x)
    assert torch.equal(ours.labels, theirs.labels)
    assert ours.info == theirs.info


@pytest.mark.parametrize(
    ("decoder", "words"),
    [
        (Decoder(multi_formation=2), "stored records holds 4 of them"),
        (Decoder(noise_copies=3, noise=0.1), "stands there 3 times"),
    ],
)
def test_npz_holds_decoded_training_records(study, tmp_path, decoder, words):
    tiled = replace(fake_set((1, 8, 8)), decoder=decoder)
    save_set(tiled, study.folder / study.trials[0].set_path)
    folder = export_set(study, 0, tmp_path / "out", format="npz")
    arrays = np.load(folder / "set.npz")
    x, labels = tiled.training_records()
    np.testing.assert_array_equal(arrays["x"], x.numpy())
    np.testing.assert_array_equal(arrays["labels"], labels.numpy())
    assert strict(folder / "card.json")["synthetic"]["training_records"] == len(x)
    assert words in (folder / "README.md").read_text()


@pytest.mark.parametrize("form", ["safetensors", "npz"])
def test_the_snippet_of_the_card_loads_the_set(study, tmp_path, monkeypatch, form):
    folder = export_set(study, study.front[0], tmp_path / "out", format=form)
    readme = (folder / "README.md").read_text()
    snippet = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    monkeypatch.chdir(folder)
    names = {}
    exec(snippet, names)
    shapes = re.search(r"`x` \((.*?)\) .*`labels` \((.*?)\)", readme)
    assert ", ".join(map(str, names["x"].shape)) == shapes[1]
    assert ", ".join(map(str, names["labels"].shape)) == shapes[2]


def test_the_card_names_data_scores_baselines_and_the_file(study, tmp_path):
    number = study.front[0]
    trial = study.trial(number)
    folder = export_set(study, number, tmp_path / "out", reasons=["Lowest clean error."])
    card, readme = strict(folder / "card.json"), (folder / "README.md").read_text()
    digest = hashlib.sha256((folder / card["file"]).read_bytes()).hexdigest()
    assert card["sha256"] == digest
    assert digest in readme
    assert card["scores"]["test"]["error"][0] == trial.report["error"].mean
    assert card["synthetic"]["per_class"] == [3] * 10
    assert card["settings"] == study.config
    for text in ("1297 records of digits", "3 a class", "Lowest clean error.", "herding"):
        assert text in readme
    for where in (trial.scores, trial.report):
        robust = where["robust_error"]
        assert f"{100 * robust.mean:.1f} ± {100 * robust.se:.1f}" in readme
    assert all(f"evaluate.{key}" in readme for key in study.config["evaluate"])


def test_the_card_says_whether_its_own_set_passed_and_how_it_bears_larger_attacks(tmp_path):
    study = fake_study(tmp_path / "study", failing=(0,))
    dominated = next(t.number for t in study.trials if t.number not in study.front)
    expected = {study.front[0]: False, study.front[1]: True, dominated: None}
    words = {False: "1 of 2 FAILED", True: "all 2 passed", None: "not checked"}
    for number, passed in expected.items():
        folder = export_set(study, number, tmp_path / str(number))
        card, readme = strict(folder / "card.json"), (folder / "README.md").read_text()
        assert card["masking"]["passed"] is passed
        assert f"Masking checks of this set: {words[passed]}" in readme
        assert len(card["curve"]) == (0 if passed is None else 3)
        assert ("| eps | 0 | 0.05 | 0.1 |" in readme) == (passed is not None)


def test_the_card_says_why_the_search_of_its_own_rung_ended(study, tmp_path):
    number = study.front[0]
    own = study.trial(number).rung_index
    ended = {own: "The search here ended early", own + 1: "The search elsewhere ended early"}
    folder = export_set(replace(study, stopped=ended), number, tmp_path / "out")
    assert strict(folder / "card.json")["stopped"] == "The search here ended early"
    readme = (folder / "README.md").read_text()
    assert "The search here ended early." in readme
    assert "The search elsewhere" not in readme


def test_the_guarantee_is_complete(study, tmp_path):
    number = study.front[-1]
    folder = export_set(study, number, tmp_path / "out")
    privacy, readme = strict(folder / "card.json")["privacy"], (folder / "README.md").read_text()
    assert privacy["epsilon"] == study.trial(number).epsilon
    assert privacy["epsilon_study"] == 8.31
    assert privacy["delta"] == 1e-5
    assert privacy["epsilon_with_choice"] == 8.31
    for text in (
        "**This set and the choice of it are (8.31, 1e-05)-differentially private**",
        f"made from the release's rung of epsilon {privacy['epsilon']:g}",
        ADJACENCY,
        "Unit of privacy: one record",
        "opacus PRV",
        "All sets of the study together cost epsilon 8.31",
        "not guaranteed",
        "declared public",
        "floating point",
        *study.privacy,
    ):
        assert text in readme


def test_a_choice_among_small_budgets_costs_no_more_than_the_largest_of_them(study, tmp_path):
    number = study.front[-1]
    own = study.trial(number).epsilon
    folder = export_set(study, number, tmp_path / "out", compared=own)
    assert strict(folder / "card.json")["privacy"]["epsilon_with_choice"] == own
    assert f"epsilon {own:g} at delta 1e-05" in (folder / "README.md").read_text()
    lower = export_set(study, number, tmp_path / "lower", compared=own / 2)
    assert strict(lower / "card.json")["privacy"]["epsilon_with_choice"] == own


def test_an_open_set_has_no_guarantee_and_no_number(tmp_path):
    study = fake_study(tmp_path / "study", private=False)
    folder = export_set(study, study.front[0], tmp_path / "out")
    readme = (folder / "README.md").read_text()
    assert strict(folder / "card.json")["privacy"] == {
        "private": False,
        "accesses": list(study.privacy),
    }
    section = readme.split("## Privacy")[1].split("## Settings")[0]
    assert "no privacy guarantee" in section
    assert "epsilon" not in section
    assert "differentially" not in section


def test_what_was_not_measured_is_left_out(tmp_path):
    study = fake_study(tmp_path / "study", reports=False)
    first = study.trials[0]
    lone = replace(first.scores["error"], se=math.nan)
    once = replace(first, scores={**first.scores, "error": lone})
    folder = export_set(replace(study, trials=(once, *study.trials[1:])), 0, tmp_path / "out")
    assert strict(folder / "card.json")["scores"]["test"] is None
    table = (folder / "README.md").read_text().split("## What it is worth")[1]
    assert "| test |" not in table
    assert f"| {100 * lone.mean:.1f} |" in table


def test_the_picture_is_the_contact_sheet(study, tmp_path):
    folder = export_set(study, 0, tmp_path / "out")
    expected = contact_sheet(load_set(study.folder / study.trials[0].set_path))
    np.testing.assert_array_equal(
        np.asarray(Image.open(folder / "contact_sheet.png")), np.asarray(expected)
    )


def test_a_folder_in_use_is_kept_unless_forced(study, tmp_path):
    out = tmp_path / "out"
    export_set(study, 0, out)
    (out / "mine.txt").write_text("keep")
    before = (out / "README.md").read_text()
    with pytest.raises(PolicyError, match="empty or new folder"):
        export_set(study, 1, out)
    assert (out / "README.md").read_text() == before
    export_set(study, 1, out, format="npz", force=True)
    assert "trial-001" in (out / "README.md").read_text()
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "SHA256SUMS",
        "card.json",
        "contact_sheet.png",
        "croissant.json",
        "load.py",
        "mine.txt",
        "set.npz",
        "train.parquet",
    ]


def test_a_file_in_the_way_is_never_replaced(study, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(PolicyError):
        export_set(study, 0, tmp_path / "out", force=True)


def test_an_unknown_trial_or_format_writes_nothing(study, tmp_path):
    with pytest.raises(PolicyError, match="99"):
        export_set(study, 99, tmp_path / "out")
    with pytest.raises(PolicyError, match="safetensors or npz"):
        export_set(study, 0, tmp_path / "out", format="csv")
    assert not (tmp_path / "out").exists()


def test_the_card_has_a_column_for_every_objective(tmp_path):
    study = fake_study(tmp_path / "study", more=MORE)
    folder = export_set(study, study.front[0], tmp_path / "out")
    readme, card = (folder / "README.md").read_text(), strict(folder / "card.json")
    heads = ["clean error %", "robust error %", "worst-class error %", "calibration error %"]
    assert f"| set | records scored | {' | '.join(heads)} | stored size kB |" in readme
    assert list(card["scores"]["validation"]) == list(study.objectives)
    assert list(card["baselines"]["random"]["test"]) == [
        name for name in study.objectives if name != "epsilon"
    ]
