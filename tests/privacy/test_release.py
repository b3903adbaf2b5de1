"""The release: drawn once, stored whole, read back as it was, by nobody under another name."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import pytest
import torch
from privacy.private_tools import (
    LADDER,
    Brightness,
    Centred,
    Cubes,
    ledger_of,
    moments,
    small,
    toy,
)
from pydantic import ValidationError
from safetensors import safe_open

from moc.data.vault import unseal
from moc.errors import BudgetExceededError, PrivacyError
from moc.privacy import ledger as ledger_module
from moc.privacy import release as release_module
from moc.privacy.access import ADJACENCY, Budget
from moc.privacy.accountant import Gaussian, epsilon
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import Round, draw
from moc.privacy.sums import GRID
from moc.statistics.class_means import ClassMeans

DATA = toy()
STATISTICS = small(DATA.info)
EXACT = STATISTICS.sums(unseal(DATA))


def drawn(ledger, folder, ladder=LADDER, **options):
    return draw(ledger, STATISTICS, ladder, folder=folder / "release", **options)


def test_every_rung_is_the_sums_and_noise_of_its_size(tmp_path):
    found = drawn(ledger_of(toy()), tmp_path)
    assert [one.rung for one in found] == list(LADDER.rungs)
    for one, sigma in zip(found, LADDER.multipliers, strict=True):
        assert one.noise == sigma
        noise = torch.cat([(one.blocks[name] - block).flatten() for name, block in EXACT.items()])
        # Half to double is more than ten standard deviations of what 50 coordinates can show.
        assert 0.5 < noise.std() / (sigma * GRID) < 2


def test_a_rung_costs_what_it_says(tmp_path):
    ledger = ledger_of(toy())
    drawn(ledger, tmp_path)
    for rung, target in enumerate(LADDER.epsilons):
        assert target * 0.99 < ledger.epsilon(rung) <= target


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_shares_of_one_budget_compose_to_the_whole(tmp_path, share):
    ledger = ledger_of(toy())
    for name, part in (("a", share), ("b", 1 - share)):
        drawn(ledger, tmp_path / name, replace(LADDER, share=part), key=f"release/{name}")
    for rung, target in enumerate(LADDER.epsilons):
        assert target * 0.99 < ledger.epsilon(rung) <= target
    with pytest.raises(BudgetExceededError):
        drawn(ledger, tmp_path / "c", replace(LADDER, share=0.01), key="release/c")


def test_the_exact_sums_are_for_open_studies(tmp_path):
    ledger = Ledger(None)
    ledger.own("train", toy())
    (exact,) = drawn(ledger, tmp_path, None)
    assert (exact.rung, exact.noise, ledger.epsilon()) == (None, 0.0, math.inf)
    for name, block in EXACT.items():
        assert torch.equal(exact.blocks[name], block.double())
    with pytest.raises(PrivacyError, match="without noise"):
        drawn(ledger_of(toy()), tmp_path / "private", None)


def test_a_hardened_release_is_on_the_grid(tmp_path):
    for one in drawn(ledger_of(toy()), tmp_path, tier="hardened"):
        assert all(torch.equal(block, block.round()) for block in one.blocks.values())


def test_a_file_says_what_it_is_and_nothing_of_the_records(tmp_path):
    for n in (12, 14):
        ledger, folder = ledger_of(toy(n, seed=n)), tmp_path / str(n)
        draw(ledger, STATISTICS, LADDER, folder=folder)
        files = sorted(folder.iterdir())
        assert [file.name for file in files] == [f"rung-{i}.safetensors" for i in range(3)]
    for file, target in zip(files, LADDER.epsilons, strict=True):
        with safe_open(file, framework="pt") as one:
            claim = one.metadata()
            assert set(one.keys()) == {"class-means", "second-moments"}
        with safe_open(tmp_path / "12" / file.name, framework="pt") as other:
            sums = "sha256 of the sums"
            assert {**other.metadata(), sums: claim[sums]} == claim
        assert float(claim["epsilon"]) == target
        sigma = float(claim["noise multiplier"])
        assert epsilon([Gaussian(noise_multiplier=sigma)], delta=float(claim["delta"])) <= target
        assert claim["adjacency"] == ADJACENCY


def test_an_overspending_release_leaves_t_and_the_folder_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
    with pytest.raises(BudgetExceededError, match="Nothing was read"):
        drawn(ledger_of(toy(), epsilon=4.0), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lost_release_is_not_drawn_again(tmp_path):
    ledger = ledger_of(toy())
    drawn(ledger, tmp_path)
    (tmp_path / "release" / "rung-1.safetensors").unlink()
    with pytest.raises(PrivacyError, match="second release"):
        drawn(ledger, tmp_path)
    shutil.rmtree(tmp_path / "release")
    with pytest.raises(PrivacyError, match="second release"):
        drawn(ledger, tmp_path)


def test_a_stored_release_is_not_read_under_another_name(tmp_path):
    ledger = ledger_of(toy())
    drawn(ledger, tmp_path)
    for ladder in (Ladder(epsilons=(4.0, 2.0, 1.0)), replace(LADDER, share=0.5)):
        with pytest.raises(PrivacyError, match="cannot change"):
            drawn(ledger, tmp_path, ladder)
    with pytest.raises(PrivacyError, match="cannot change"):
        drawn(ledger, tmp_path, tier="hardened")
    with pytest.raises(PrivacyError, match="never paid for"):
        drawn(ledger, tmp_path, key="release/1")
    with pytest.raises(PrivacyError, match="never paid for"):
        drawn(ledger_of(toy()), tmp_path)


def test_another_ledgers_rungs_are_noticed_by_what_they_claim(tmp_path):
    drawn(ledger_of(toy(), epsilon=4.0), tmp_path, Ladder(epsilons=(4.0, 2.0, 1.0)))
    ledger = ledger_of(toy())
    drawn(ledger, tmp_path / "mine")
    shutil.copytree(tmp_path / "release", tmp_path / "mine" / "release", dirs_exist_ok=True)
    with pytest.raises(PrivacyError, match="belongs to another release"):
        drawn(ledger, tmp_path / "mine")


def test_a_release_is_never_written_over_files(tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "rung-0.safetensors").write_bytes(b"something")
    with pytest.raises(PrivacyError, match="never written over"):
        drawn(ledger_of(toy()), tmp_path)


def test_a_crash_before_all_is_stored_leaves_nothing_and_its_draw_counts(tmp_path, monkeypatch):
    ledger = ledger_of(toy(), path=tmp_path / "l")
    overwrite, calls = release_module.overwrite, []

    def crash(path, data):
        calls.append(path)
        if len(calls) == 2:
            raise OSError("no space left")
        overwrite(path, data)

    monkeypatch.setattr(release_module, "overwrite", crash)
    with pytest.raises(OSError, match="no space"):
        drawn(ledger, tmp_path)
    assert not (tmp_path / "release").exists()
    monkeypatch.undo()
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
    with pytest.raises(BudgetExceededError, match="'release/0' 2 times, as what was drawn before"):
        drawn(ledger_of(toy(), path=tmp_path / "l"), tmp_path)
    assert not (tmp_path / "release").exists()


def test_a_crash_before_it_is_finished_does_not_draw_again(tmp_path, monkeypatch):
    ledger = ledger_of(toy(), path=tmp_path / "l")
    monkeypatch.setattr(Ledger, "finish", lambda *_: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        drawn(ledger, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
    again = ledger_of(toy(), path=tmp_path / "l")
    drawn(again, tmp_path)
    assert again.is_finished("release/0")


def test_statistics_that_couple_records_are_refused_before_t_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
    ledger = ledger_of(toy())
    with pytest.raises(PrivacyError, match="treat each record by itself"):
        draw(ledger, small(DATA.info, (Centred(),)), LADDER, folder=tmp_path / "r")
    assert ledger.epsilon() == 0.0


@pytest.mark.parametrize("change", ["seed", "networks", "weights", "settings"])
def test_a_release_is_not_read_back_under_other_networks_or_statistics(tmp_path, change):
    ledger = ledger_of(toy())
    paid = small(DATA.info, (Brightness(weight=0.5), ClassMeans()))
    draw(ledger, paid, LADDER, folder=tmp_path / "release")
    other = {
        "seed": replace(paid, bank=replace(paid.bank, seed=paid.bank.seed + 1)),
        "networks": replace(paid, networks=paid.networks + 1),
        "weights": replace(paid, statistics=(Brightness(weight=0.4), ClassMeans())),
        "settings": replace(paid, statistics=(Brightness(weight=0.5, gain=2.0), ClassMeans())),
    }[change]
    with pytest.raises(PrivacyError, match="Settings of a release cannot change"):
        draw(ledger, other, LADDER, folder=tmp_path / "release")


def test_a_release_in_rounds_is_one_list_of_accesses(tmp_path):
    """Each round has networks, statistics and a share of its own; together they are the budget."""
    rounds = (
        (Round(share=0.3, count=1, statistics=("class-means",)), small(DATA.info, (ClassMeans(),))),
        (Round(share=0.7, count=2), STATISTICS),
    )
    ledger = ledger_of(toy())
    for place, (one, collection) in enumerate(rounds):
        key, folder = f"release/{place}", tmp_path / str(place)
        draw(ledger, collection, LADDER.part(one.share), folder=folder, key=key)
    assert [access.key for access in ledger.accesses] == ["release/0", "release/1"]
    for rung, target in enumerate(LADDER.epsilons):
        assert target * 0.99 < ledger.epsilon(rung) <= target


def test_a_round_names_statistics_by_kind_once_each():
    one = Round.model_validate({"statistics": ["class-means", {"kind": "class-counts"}]})
    assert [part.kind for part in one.statistics] == ["class-means", "class-counts"]
    for wrong in ({"share": 0.0}, {"share": 1.1}, {"count": 0}, {"statistics": ["unheard-of"]}):
        with pytest.raises(ValidationError):
            Round.model_validate(wrong)


def test_a_statistic_that_moc_does_not_know_is_released_and_paid_for_like_any(tmp_path):
    """Blocks go by name from the pass over T to the file, whoever wrote the statistic."""
    costs = []
    for place, statistics in enumerate(((Brightness(weight=0.3), Cubes()), moments())):
        ledger, folder = ledger_of(toy()), tmp_path / str(place)
        collection = small(DATA.info, statistics)
        released = draw(ledger, collection, LADDER, folder=folder)
        exact = collection.sums(unseal(DATA))
        again = draw(ledger, collection, LADDER, folder=folder)
        for one, reread in zip(released, again, strict=True):
            assert one.blocks.keys() == exact.blocks.keys() == {s.kind for s in statistics}
            for name, block in exact.items():
                assert one.blocks[name].shape == block.shape
                assert torch.equal(one.blocks[name], reread.blocks[name])
        costs.append([ledger.epsilon(rung) for rung in range(3)])
    assert costs[0] == costs[1]
    description = ledger_of(toy())
    draw(description, small(DATA.info, (Brightness(),)), LADDER, folder=tmp_path / "x")
    assert "brightness (gain 1.0, weight 1)" in description.describe()[0]


def test_a_ladder_and_its_budget_speak_of_one_delta(tmp_path):
    with pytest.raises(PrivacyError, match="One delta"):
        drawn(ledger_of(toy()), tmp_path, replace(LADDER, delta=1e-3))
    assert Budget(epsilon=1.0).delta == LADDER.delta
