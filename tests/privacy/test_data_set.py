"""The ledger of the data set: all studies of the same records add up, whatever happens to files."""

from __future__ import annotations

import json
import math
import shutil
import stat
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy.private_tools import LADDER, all_right, small, toy

from moc.data.declared import DataInfo
from moc.data.vault import RealData, unseal
from moc.errors import BudgetExceededError, PrivacyError
from moc.privacy import ledger as ledger_module
from moc.privacy.access import Access, Budget
from moc.privacy.accountant import Gaussian, epsilon, exact_epsilon, noise_multiplier
from moc.privacy.data_set import FILE, DataSetLedger, places_of
from moc.privacy.held_out import HeldOut
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw

SIGMA = noise_multiplier(8.0, delta=1e-5)
RECORDS = frozenset({b"11111111", b"22222222"})
RELEASE = Access(
    key="release/0", data="train", purpose="sums", kind="gaussian", ladder=(SIGMA,), sensitivity=1.0
)


def study(tmp_path, name="a", data=None, *, folder=None, budget=8.0, places=None) -> Ledger:
    """The ledger of a study on `data`, whose run folder is `folder`."""
    folder = tmp_path / (folder or name)
    shared = DataSetLedger(places or [tmp_path / "shared.jsonl"], study=name)
    path = folder / "privacy.jsonl"
    ledger = Ledger(None if budget is None else Budget(epsilon=budget), path=path, data_set=shared)
    ledger.own("train", toy() if data is None else data)
    return ledger


def released(ledger, folder, **options):
    return draw(ledger, small(toy().info), LADDER, folder=folder / "release", **options)


def spent(ledger) -> list[Gaussian]:
    return [
        part
        for one in ledger.data_set.spent(ledger.private_records)
        for part in one.access.mechanism(0)
    ]


def total(ledger) -> float:
    return epsilon(spent(ledger), delta=1e-5)


def test_three_studies_of_epsilon_8_cost_what_they_compose_to(tmp_path):
    for name in "abc":
        ledger = study(tmp_path, name)
        released(ledger, tmp_path / name)
        assert ledger.epsilon() == pytest.approx(8.0, abs=0.01)
    assert total(ledger) == pytest.approx(15.86, abs=0.01)
    lines = ledger.data_set.describe(ledger.private_records)
    assert "total over 3 studies: epsilon 15.86 at delta 1e-05" in lines[-1]
    assert lines[1].startswith("a, since 20")
    assert "epsilon 8 (by rung: epsilon 8, epsilon 2, epsilon 1); drawn: 1 of release/0" in lines[1]


def test_a_study_that_is_taken_up_again_counts_once(tmp_path):
    for _ in range(3):
        ledger = study(tmp_path)
        released(ledger, tmp_path / "a")
    assert len(spent(ledger)) == 1


@pytest.mark.parametrize("what", ["folder deleted", "folder copied", "study renamed", "copy drawn"])
def test_nothing_that_happens_to_a_run_folder_resets_it(tmp_path, what, monkeypatch):
    ledger = study(tmp_path)
    if what == "copy drawn":  # both folders know the same reservation; each draws for itself
        with monkeypatch.context() as kill:
            kill.setattr(Ledger, "begin", mock.Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                released(ledger, tmp_path / "a")
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    released(ledger, tmp_path / "a")
    if what == "folder copied":
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    if what == "folder deleted":
        shutil.rmtree(tmp_path / "a")
    name = "b" if what in ("study renamed", "copy drawn") else "a"
    folder = "b" if "cop" in what else name
    again = study(tmp_path, name, folder=folder)
    released(again, tmp_path / folder)
    assert len(spent(again)) == (1 if what == "folder copied" else 2)


@pytest.mark.parametrize(
    ("change", "adds"),
    [
        ("order", True),
        ("a row less", True),
        ("labels", True),
        ("one in common", True),
        ("others", False),
    ],
)
def test_data_are_known_by_their_records(tmp_path, change, adds):
    released(study(tmp_path), tmp_path / "a")
    records = unseal(toy())
    x, y = records.x.clone(), records.y.clone()
    if change == "order":
        x, y = x.flip(0), y.flip(0)
    elif change == "a row less":
        x, y = x[1:], y[1:]
    elif change == "labels":
        y = 1 - y
    else:
        x = unseal(toy(seed=5)).x.clone()
        x[3] = records.x[3] if change == "one in common" else x[3]
    info = DataInfo(name="changed", shape=(6,), classes=("a", "b"), count=len(y))
    ledger = study(tmp_path, "b", RealData(info=info, x=x, y=y))
    assert len(spent(ledger)) == int(adds)


def test_other_data_in_between_do_not_join_two_that_share_nothing(tmp_path):
    """T1 and T2 have a record in common, and T2 and T3: T1 and T3 still do not add up."""
    ledger = DataSetLedger([tmp_path / "l"])
    sets = [frozenset({b"%08d" % k, b"%08d" % (k + 1)}) for k in range(3)]
    for place, records in enumerate(sets):
        ledger.spend(records, RELEASE, delta=1e-5, draw=str(place))
    assert [len(ledger.spent(records)) for records in sets] == [2, 3, 2]


def test_paid_scores_are_written_one_by_one_before_their_noise_is_drawn(tmp_path, monkeypatch):
    ledger = study(tmp_path)
    held_out = HeldOut(ledger, "train", planned=5, noise_multiplier=100.0)
    counts = held_out.count(all_right, bound=1.0)
    assert spent(ledger) == []
    held_out.publish(counts)
    monkeypatch.setattr("moc.privacy.held_out.gaussian", lambda *_, **__: pytest.fail("drawn"))
    with pytest.raises(pytest.fail.Exception):
        held_out.publish(counts)
    assert spent(ledger) == [Gaussian(noise_multiplier=100.0)] * 2


def test_reading_without_noise_is_the_end_of_the_guarantee_and_is_said(tmp_path):
    released(study(tmp_path), tmp_path / "a")
    ledger = study(tmp_path, "open", budget=None)
    ledger.read(Access(key="samples", data="train", purpose="batches", kind="open"))
    assert math.isinf(total(ledger))
    assert "no privacy: read without noise" in ledger.data_set.describe(ledger.private_records)[-1]


def test_public_records_are_not_in_it(tmp_path):
    ledger = study(tmp_path)
    ledger.own("declared", toy(seed=2), public=True)
    ledger.read(Access(key="p", data="declared", purpose="scores", kind="public"))
    assert not (tmp_path / "shared.jsonl").exists()
    assert len(ledger.private_records) == 12


@pytest.mark.parametrize("budget", [8.0, None])
def test_a_study_that_would_overspend_the_data_set_is_refused_before_t_is_read(
    tmp_path, monkeypatch, budget
):
    first = study(tmp_path)
    first.data_set.declare(first.private_records, Budget(epsilon=10.0))
    released(first, tmp_path / "a")
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
    ledger = study(tmp_path, "b", budget=budget)
    with pytest.raises(BudgetExceededError, match="spent epsilon 8 of its budget of 10"):
        ledger.require_room()
    access = replace(RELEASE, kind="open") if budget is None else RELEASE
    with pytest.raises(BudgetExceededError, match=r"epsilon \d.* would fit. Nothing was read"):
        ledger.read(access)
    assert not (tmp_path / "b").exists()
    assert len(spent(ledger)) == 1


def test_a_studys_own_draws_are_part_of_what_it_planned(tmp_path):
    ledger = study(tmp_path)
    ledger.data_set.declare(ledger.private_records, Budget(epsilon=8.0))
    released(
        ledger,
        tmp_path / "a",
        key="release/0",
    )
    again = study(tmp_path)
    again.require_room()


@settings(max_examples=3)
@given(st.lists(st.floats(0.3, 4.0), min_size=1, max_size=3), st.floats(4.5, 12.0))
def test_what_is_said_to_fit_fits_and_hardly_more_does(tmp_path_factory, costs, whole):
    ledger = DataSetLedger([tmp_path_factory.mktemp("l") / "l"])
    ledger.declare(RECORDS, Budget(epsilon=whole))
    for place, cost in enumerate(costs):
        access = replace(RELEASE, ladder=(noise_multiplier(cost, delta=1e-5),))
        with suppress(BudgetExceededError):
            ledger.spend(RECORDS, access, delta=1e-5, draw=str(place))
    with pytest.raises(BudgetExceededError) as refused:
        ledger.require_room(RECORDS, Budget(epsilon=2 * whole), drawn=())
    words = str(refused.value)
    if "nothing more fits" in words:
        return
    fits = float(words.split("a study of epsilon ")[1].split(" would fit")[0])
    ledger.require_room(RECORDS, Budget(epsilon=fits), drawn=())
    with pytest.raises(BudgetExceededError):
        ledger.require_room(RECORDS, Budget(epsilon=fits * 1.04 + 0.01), drawn=())


@settings(max_examples=8)
@given(st.lists(st.floats(2.0, 30.0), min_size=1, max_size=5))
def test_the_total_is_the_composition_of_all_draws_and_never_less_than_exact(
    tmp_path_factory, multipliers
):
    place = tmp_path_factory.mktemp("l") / "l"
    for k, sigma in enumerate(multipliers):
        access = replace(RELEASE, ladder=(sigma,))
        DataSetLedger([place], study=str(k)).spend(RECORDS, access, delta=1e-5, draw=str(k))
    parts = [Gaussian(noise_multiplier=sigma) for sigma in multipliers]
    exact = exact_epsilon(parts, delta=1e-5)
    text = DataSetLedger([place]).describe(RECORDS)[-1]
    shown = float(text.split("epsilon ")[1].split(" ")[0])
    assert exact * (1 - 1e-3) <= shown <= exact + 2e-3 + exact * 1e-3


def test_the_file_is_for_its_owner_and_holds_no_record(tmp_path):
    ledger = study(tmp_path)
    released(ledger, tmp_path / "a")
    path = tmp_path / "shared.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["event"] for event in events] == ["data", "spent"]
    assert len(events[0]["records"]) == 4 * math.ceil(12 * 8 / 3), "eight bytes a record"


def test_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("MOC_LEDGER")
    own, beside = tmp_path / "state" / "moc" / FILE, tmp_path / FILE
    assert places_of(None, None) == (own,)
    assert places_of(tmp_path, None) == (beside, own)
    assert places_of(tmp_path / "nowhere", None) == (own,)
    assert places_of(tmp_path, tmp_path / "n") == (tmp_path / "n",)
    monkeypatch.setenv("MOC_LEDGER", str(tmp_path / "m"))
    assert places_of(tmp_path, None) == (tmp_path / "m",)
    assert places_of(tmp_path, tmp_path / "n") == (tmp_path / "n", tmp_path / "m")


def test_moving_the_data_does_not_reset_it_nor_losing_one_of_two_files(tmp_path):
    here, own, there = (tmp_path / name for name in ("here", "own", "there"))
    released(study(tmp_path, places=[here, own]), tmp_path / "a")
    moved = study(tmp_path, "b", places=[there, own])
    assert len(spent(moved)) == 1
    released(moved, tmp_path / "b")
    own.unlink()
    assert len(spent(study(tmp_path, "c", places=[here, there, own]))) == 2


def test_a_lost_ledger_learns_from_the_studies_that_are_taken_up_again(tmp_path):
    released(study(tmp_path), tmp_path / "a")
    (tmp_path / "shared.jsonl").unlink()
    again = study(tmp_path)
    released(again, tmp_path / "a")
    assert len(spent(again)) == 1


def test_a_torn_line_never_happened_and_a_damaged_one_stops_everything(tmp_path):
    released(study(tmp_path), tmp_path / "a")
    path = tmp_path / "shared.jsonl"
    path.write_bytes(path.read_bytes() + b'{"event": "spe')
    released(study(tmp_path, "b"), tmp_path / "b")
    assert len(spent(study(tmp_path, "c"))) == 2
    path.write_text("not an event\n" + path.read_text())
    with pytest.raises(PrivacyError, match=r"Line 1 of .* restore the file"):
        study(tmp_path, "c").require_room()


def test_a_place_that_cannot_be_opened_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PrivacyError, match="Name a file for it with MOC_LEDGER"):
        released(study(tmp_path, places=[tmp_path / "file" / "l"]), tmp_path / "a")


@pytest.mark.parametrize(
    "wrong",
    [
        Budget(epsilon=0.0),
        Budget(epsilon=math.inf),
        Budget(epsilon=math.nan),
        Budget(epsilon=1.0, delta=0.0),
        Budget(epsilon=1e6),
    ],
)
def test_a_budget_is_a_number_that_promises_something(tmp_path, wrong):
    ledger = DataSetLedger([tmp_path / "l"])
    with pytest.raises(PrivacyError, match=r"epsilon from 0.01 to 10000"):
        ledger.declare(RECORDS, wrong)
    many = frozenset(bytes([k]) for k in range(200))
    with pytest.raises(PrivacyError, match="A delta below 1/200"):
        ledger.declare(many, Budget(epsilon=1.0, delta=0.005))


def _spend(arguments) -> int:
    place, worker = arguments
    for k in range(20):
        DataSetLedger([place]).spend(RECORDS, RELEASE, delta=1e-5, draw=f"{worker}-{k}")
    return worker


def test_many_writers_lose_nothing_and_cannot_overspend_together(tmp_path):
    with get_context("fork").Pool(3) as pool:
        pool.map(_spend, [(tmp_path / "l", worker) for worker in range(3)])
    assert len(DataSetLedger([tmp_path / "l"]).spent(RECORDS)) == 60
    ledger = DataSetLedger([tmp_path / "m"])
    ledger.declare(RECORDS, Budget(epsilon=13.0))
    for _ in range(2):  # both were let in before either had drawn
        ledger.require_room(RECORDS, Budget(epsilon=8.0), drawn=())
    ledger.spend(RECORDS, RELEASE, delta=1e-5, draw="1")
    ledger.spend(RECORDS, RELEASE, delta=1e-5, draw="2")
    with pytest.raises(BudgetExceededError):
        ledger.spend(RECORDS, RELEASE, delta=1e-5, draw="3")


def test_rungs_add_up_rung_by_rung(tmp_path):
    ladders = [Ladder(epsilons=(8.0, 2.0, 1.0)), Ladder(epsilons=(4.0, 0.5))]
    for place, ladder in enumerate(ladders):
        ledger = study(tmp_path, str(place))
        draw(ledger, small(toy().info), ladder, folder=tmp_path / str(place) / "r")
    lowest = [Gaussian(noise_multiplier=ladder.multipliers[-1]) for ladder in ladders]
    text = ledger.data_set.describe(ledger.private_records)[-1]
    assert f"lowest rung of each alone: epsilon {epsilon(lowest, delta=1e-5):.4g}" in text
