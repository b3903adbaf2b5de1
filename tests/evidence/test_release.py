"""The release: drawn once, stored whole, read back as it was, by nobody under another name."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import pytest
import torch
from evidence_checks import check_reads_agree
from evidence_tools import LADDER, HeadAttack, ledger_of, small, tame, toy
from safetensors import safe_open

from moc.attacks import Attack
from moc.data._vault import unseal
from moc.errors import BudgetExceededError, PrivacyError
from moc.evidence import Budget, Ladder, Ledger, draw, rungs
from moc.evidence import ledger as ledger_module
from moc.evidence.accountant import Gaussian, epsilon, exact_epsilon
from moc.evidence.statistics import GRID

DATA = toy()
STATISTICS = small(DATA.info)
EXACT = STATISTICS.sums(unseal(DATA))


def drawn(ledger, folder, ladder=LADDER, **options):
    return draw(ledger, STATISTICS, ladder, folder=folder / "release", **options)


def test_every_rung_is_the_sums_and_noise_of_its_size(tmp_path):
    found = drawn(ledger_of(DATA), tmp_path)
    assert [rung.epsilon for rung in found] == [8.0, 2.0, 1.0]
    for rung, sigma in zip(found, LADDER.multipliers(), strict=True):
        noise = torch.cat(
            [(rung.first - EXACT.first).flatten(), (rung.second - EXACT.second).flatten()]
        )
        # Half to double is more than ten standard deviations of what 50 coordinates can show.
        assert 0.5 < noise.std() / (sigma * GRID) < 2


def test_a_rung_costs_what_it_says(tmp_path):
    ledger = ledger_of(DATA)
    drawn(ledger, tmp_path)
    for rung, target in enumerate(LADDER.epsilons):
        assert target * 0.99 < ledger.epsilon(rung) <= target


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_shares_of_one_budget_compose_to_the_whole(tmp_path, share):
    ledger = ledger_of(DATA)
    for name, part in (("a", share), ("b", 1 - share)):
        drawn(ledger, tmp_path / name, replace(LADDER, share=part), key=f"release/{name}")
    for rung, target in enumerate(LADDER.epsilons):
        assert target * 0.99 < ledger.epsilon(rung) <= target
    with pytest.raises(BudgetExceededError):
        drawn(ledger, tmp_path / "c", replace(LADDER, share=0.01), key="release/c")


def test_the_exact_sums_are_for_open_studies(tmp_path):
    ledger = Ledger(None)
    ledger.own("train", DATA)
    (rung,) = drawn(ledger, tmp_path, None)
    assert rung.epsilon == math.inf
    assert torch.equal(rung.first, EXACT.first.double())
    with pytest.raises(PrivacyError, match="without noise"):
        drawn(ledger_of(DATA), tmp_path / "private", None)


def test_whoever_reads_a_rung_reads_the_same_bytes(tmp_path):
    check_reads_agree(tmp_path)


def test_a_hardened_release_is_on_the_grid(tmp_path):
    for rung in drawn(ledger_of(DATA), tmp_path, tier="hardened"):
        assert torch.equal(rung.first, rung.first.round())


def test_a_file_says_what_it_is_and_nothing_of_the_records(tmp_path):
    for n in (12, 14):
        ledger, folder = ledger_of(toy(n, seed=n)), tmp_path / str(n)
        draw(ledger, STATISTICS, LADDER, folder=folder)
        files = sorted(folder.iterdir())
        assert [file.name for file in files] == [f"rung-{i}.safetensors" for i in range(3)]
    for file, target in zip(files, LADDER.epsilons, strict=True):
        with safe_open(file, framework="pt") as one:
            claim = one.metadata()
            assert set(one.keys()) == {"first", "second", "counts"}
        with safe_open(tmp_path / "12" / file.name, framework="pt") as other:
            assert other.metadata() == claim
        assert float(claim["epsilon"]) == target
        sigma = float(claim["noise multiplier"])
        assert epsilon([Gaussian(noise_multiplier=sigma)], delta=float(claim["delta"])) <= target
        assert claim["adjacency"] == "add or remove one record"


def test_an_overspending_release_leaves_t_and_the_folder_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
    with pytest.raises(BudgetExceededError, match="Nothing was read"):
        drawn(ledger_of(DATA, epsilon=4.0), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lost_release_is_not_drawn_again(tmp_path):
    ledger = ledger_of(DATA)
    drawn(ledger, tmp_path)
    (tmp_path / "release" / "rung-1.safetensors").unlink()
    with pytest.raises(PrivacyError, match="second release"):
        drawn(ledger, tmp_path)
    shutil.rmtree(tmp_path / "release")
    with pytest.raises(PrivacyError, match="second release"):
        drawn(ledger, tmp_path)


def test_a_stored_release_is_not_read_under_another_name(tmp_path):
    ledger = ledger_of(DATA)
    drawn(ledger, tmp_path)
    for ladder in (Ladder(epsilons=(4.0, 2.0, 1.0)), replace(LADDER, share=0.5)):
        with pytest.raises(PrivacyError, match="cannot change"):
            drawn(ledger, tmp_path, ladder)
    with pytest.raises(PrivacyError, match="cannot change"):
        drawn(ledger, tmp_path, tier="hardened")
    with pytest.raises(PrivacyError, match="never paid for"):
        drawn(ledger, tmp_path, key="release/attacked")
    with pytest.raises(PrivacyError, match="never paid for"):
        drawn(ledger_of(DATA), tmp_path)


def test_another_ledgers_rungs_are_noticed_by_what_they_claim(tmp_path):
    drawn(ledger_of(DATA, epsilon=4.0), tmp_path, Ladder(epsilons=(4.0, 2.0, 1.0)))
    ledger = ledger_of(DATA)
    drawn(ledger, tmp_path / "mine")
    shutil.copytree(tmp_path / "release", tmp_path / "mine" / "release", dirs_exist_ok=True)
    with pytest.raises(PrivacyError, match="belongs to another release"):
        drawn(ledger, tmp_path / "mine")


def test_a_release_is_never_written_over_files(tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "rung-0.safetensors").write_bytes(b"something")
    with pytest.raises(PrivacyError, match="never written over"):
        drawn(ledger_of(DATA), tmp_path)


def test_a_crash_before_all_is_stored_leaves_nothing_and_costs_once(tmp_path, monkeypatch):
    ledger = ledger_of(DATA, path=tmp_path / "l")
    save, calls = rungs.save_file, []

    def crash(tensors, path, **options):
        calls.append(path)
        if len(calls) == 2:
            raise OSError("no space left")
        save(tensors, path, **options)

    monkeypatch.setattr(rungs, "save_file", crash)
    with pytest.raises(OSError, match="no space"):
        drawn(ledger, tmp_path)
    assert not (tmp_path / "release").exists()
    monkeypatch.undo()
    again = ledger_of(DATA, path=tmp_path / "l")
    assert len(drawn(again, tmp_path)) == 3
    assert len(again.accesses) == 1
    assert not (tmp_path / "release.part").exists()


def test_a_crash_before_it_is_finished_does_not_draw_again(tmp_path, monkeypatch):
    ledger = ledger_of(DATA, path=tmp_path / "l")
    monkeypatch.setattr(Ledger, "finish", lambda *_: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        drawn(ledger, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
    again = ledger_of(DATA, path=tmp_path / "l")
    drawn(again, tmp_path)
    assert again.is_finished("release/clean")


def test_attacks_that_couple_records_are_refused_before_t_is_read(tmp_path, digits, monkeypatch):
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
    attack = HeadAttack(Attack(name="pgd-ce", steps=1, random_start=True), digits.info)
    ledger = ledger_of(digits)
    with pytest.raises(PrivacyError, match="treat each record by itself"):
        draw(ledger, tame(digits.info, networks=1), LADDER, folder=tmp_path / "r", attack=attack)
    assert ledger.epsilon() == 0.0


@pytest.mark.parametrize("change", ["seed", "networks"])
def test_a_release_is_not_read_back_under_other_networks(tmp_path, change):
    ledger = ledger_of(DATA)
    drawn(ledger, tmp_path)
    other = {
        "seed": replace(STATISTICS, bank=replace(STATISTICS.bank, seed=STATISTICS.bank.seed + 1)),
        "networks": replace(STATISTICS, networks=STATISTICS.networks + 1),
    }[change]
    with pytest.raises(PrivacyError, match="Settings of a release cannot change"):
        draw(ledger, other, LADDER, folder=tmp_path / "release")


def test_attacked_records_are_another_access(tmp_path, digits):
    part = digits.split([40], seed=0)[0]
    statistics = tame(part.info, networks=1)
    ledger = ledger_of(part)
    share = replace(LADDER, share=0.5)
    draw(ledger, statistics, share, folder=tmp_path / "clean")
    attack = HeadAttack(Attack(name="pgd-margin", steps=1), part.info)
    draw(ledger, statistics, share, folder=tmp_path / "a", key="release/attacked", attack=attack)
    assert [access.key for access in ledger.accesses] == ["release/clean", "release/attacked"]
    assert "attacked records" in ledger.words()[1]
    assert 7.9 < ledger.epsilon() <= 8.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilons": ()}, "largest first"),
        ({"epsilons": (1.0, 2.0)}, "largest first"),
        ({"epsilons": (2.0, 2.0)}, "largest first"),
        ({"epsilons": (2.0, 0.0)}, "largest first"),
        ({"epsilons": (math.inf, 1.0)}, "largest first"),
        ({"epsilons": (math.nan,)}, "largest first"),
        ({"epsilons": (2.0,), "share": 0.0}, "share"),
        ({"epsilons": (2.0,), "share": 1.5}, "share"),
    ],
)
def test_a_ladder_that_would_mislabel_its_rungs_is_refused(settings, message):
    with pytest.raises(PrivacyError, match=message):
        Ladder(**settings)


def test_a_ladder_and_its_budget_speak_of_one_delta(tmp_path):
    with pytest.raises(PrivacyError, match="One delta"):
        drawn(ledger_of(DATA), tmp_path, replace(LADDER, delta=1e-3))
    assert Budget(epsilon=1.0).delta == LADDER.delta


def test_multipliers_meet_their_epsilons():
    for share in (1.0, 0.25):
        for target, sigma in zip(
            LADDER.epsilons, replace(LADDER, share=share).multipliers(), strict=True
        ):
            whole = [Gaussian(noise_multiplier=sigma * math.sqrt(share))]
            assert target * 0.99 < exact_epsilon(whole, delta=1e-5) <= target
