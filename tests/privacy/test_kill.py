"""A kill at any step of a release leaves one that is found, or a draw that counts."""

from __future__ import annotations

import errno
from itertools import count

import pytest
import torch
from privacy.private_tools import LADDER, small, toy

from moc.errors import BudgetExceededError, PrivacyError
from moc.privacy import disk
from moc.privacy import ledger as ledger_module
from moc.privacy import release as release_module
from moc.privacy.access import Budget
from moc.privacy.accountant import Gaussian, epsilon
from moc.privacy.collect import Collection
from moc.privacy.data_set import DataSetLedger
from moc.privacy.journal import Journal
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw


def full(path, data):
    raise OSError(errno.ENOSPC, "No space left on device")


class Killed(BaseException):
    """As by a signal: nothing cleans up."""


STEPS = {
    "while T is summed": (Collection, "sums", 0),
    "before the data set's ledger is written": (DataSetLedger, "spend", 0),
    "between the two ledgers": (Journal, "begin", 0),
    "before the noise is drawn": (release_module, "noised", 0),
    "before anything is stored": (release_module, "_store", 0),
    "after one rung": (release_module, "overwrite", 1),
    "before the folder is renamed": (release_module, "_publish", 0),
    "before it is noted as finished": (Journal, "finish", 0),
}
"""What is killed when it is called for the so-manieth time."""
FOUND = ("before the folder is renamed", "before it is noted as finished")
FREE = ("while T is summed", "before the data set's ledger is written", "between the two ledgers")


def kill(plant, step):
    place, name, survived = STEPS[step]
    function, calls = getattr(place, name), count()

    def killed(*arguments, **options):
        if next(calls) == survived:
            raise Killed
        return function(*arguments, **options)

    plant.setattr(place, name, killed)


def ledger_of(tmp_path, budget) -> Ledger:
    shared = DataSetLedger([tmp_path / "shared"], study="a")
    ledger = Ledger(Budget(epsilon=budget), path=tmp_path / "l", data_set=shared)
    ledger.own("train", toy())
    return ledger


def run(ledger, tmp_path):
    return draw(ledger, small(toy().info), LADDER, folder=tmp_path / "release")


def run_killed(monkeypatch, step, tmp_path, budget) -> None:
    ledger = ledger_of(tmp_path, budget)
    with monkeypatch.context() as plant:
        kill(plant, step)
        with pytest.raises(Killed):
            run(ledger, tmp_path)


def counted(ledger) -> int:
    return len(ledger.data_set.spent(ledger.private_records))


def composed(times) -> float:
    noise = LADDER.multipliers[0]
    return epsilon([Gaussian(noise_multiplier=noise, count=times)], delta=1e-5)


@pytest.fixture
def draws(monkeypatch):
    """Vectors of the first rung that were ever drawn."""
    found, noised = [], release_module.noised

    def remember(*arguments):
        made = noised(*arguments)
        found.append(made[0]["class-means"])
        return made

    monkeypatch.setattr(release_module, "noised", remember)
    return found


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_never_makes_a_draw_that_does_not_count(
    step, tmp_path, monkeypatch, draws
):
    run_killed(monkeypatch, step, tmp_path, 20.0)
    ledger = ledger_of(tmp_path, 20.0)
    released = run(ledger, tmp_path)
    assert torch.equal(released[0].blocks["class-means"], draws[-1])
    assert not (tmp_path / "release.part").exists()
    times = ledger.begun("release/0")
    assert times == (1 if step in FREE or step in FOUND else 2)
    assert ledger.epsilon() == composed(times)
    assert len(draws) <= times <= counted(ledger)
    assert counted(ledger) == times + (step == "between the two ledgers"), "counts rather too much"
    assert (f"begun {times} times" in ledger.describe()[0]) == (times > 1)


@pytest.mark.parametrize("step", STEPS)
def test_a_draw_that_was_lost_is_not_made_good_from_the_same_budget(
    step, tmp_path, monkeypatch, draws
):
    run_killed(monkeypatch, step, tmp_path, 8.0)
    ledger = ledger_of(tmp_path, 8.0)
    if step in FREE or step in FOUND:
        run(ledger, tmp_path)
        assert len(draws) == 1
    else:
        with pytest.raises(BudgetExceededError, match=r"2 times, .* not to be found and counts"):
            run(ledger, tmp_path)
        assert counted(ledger) == ledger.begun("release/0") == 1


@pytest.mark.parametrize("damage", ["a torn file", "another release"])
def test_what_was_stored_half_is_not_taken_for_whole(damage, tmp_path, monkeypatch, draws):
    run_killed(monkeypatch, "before the folder is renamed", tmp_path, 20.0)
    rung = tmp_path / "release.part" / "rung-2.safetensors"
    if damage == "a torn file":
        rung.write_bytes(rung.read_bytes()[:-7])
    else:
        rung.write_bytes((tmp_path / "release.part" / "rung-1.safetensors").read_bytes())
    ledger = ledger_of(tmp_path, 20.0)
    run(ledger, tmp_path)
    assert len(draws) == ledger.begun("release/0") == counted(ledger) == 2


def test_a_part_that_nobody_began_is_not_thrown_away(tmp_path):
    (tmp_path / "release.part").mkdir()
    (tmp_path / "release.part" / "rung-0.safetensors").write_bytes(b"something")
    with pytest.raises(PrivacyError, match="never written over"):
        run(ledger_of(tmp_path, 8.0), tmp_path)
    assert (tmp_path / "release.part" / "rung-0.safetensors").exists()


def test_a_full_disk_is_met_before_t_is_read(monkeypatch, tmp_path, draws):
    ledger = ledger_of(tmp_path, 8.0)
    with monkeypatch.context() as plant:
        plant.setattr(disk, "overwrite", full)
        plant.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
        with pytest.raises(OSError, match="No space left"):
            run(ledger, tmp_path)
    assert draws == []
    assert counted(ledger) == ledger.begun("release/0") == 0
    assert not list(tmp_path.glob("*release*"))
    found = run(ledger_of(tmp_path, 8.0), tmp_path)
    assert len(found) == len(LADDER.rungs)
    assert not list(tmp_path.glob(".release*"))


def test_room_is_held_to_the_byte_and_is_no_rung(monkeypatch, tmp_path):
    seen = {}
    ledger, store = ledger_of(tmp_path, 8.0), release_module._store

    def listen(rungs, claims, paths, room):
        seen.update({path.name: path.read_bytes() for path in room.iterdir()})
        store(rungs, claims, paths, room)

    monkeypatch.setattr(release_module, "_store", listen)
    run(ledger, tmp_path)
    stored = {path.name: path.stat().st_size for path in (tmp_path / "release").iterdir()}
    assert {name: len(raw) for name, raw in seen.items()} == stored
    assert not any(any(raw) for raw in seen.values())
