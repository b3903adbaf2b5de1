"""DP training: paid for before T is read, trained once, stored, and worth something."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from evidence_tools import ledger_of
from training_checks import ROUGH, sealed, training_of

from moc.attacks import Attack, Threat
from moc.errors import BudgetExceededError, PrivacyError
from moc.evidence import Ledger, reference_records
from moc.evidence import ledger as ledger_module
from moc.evidence.accountant import Gaussian, epsilon, sampled_noise_multiplier
from moc.evidence.dp_training import PrivateTraining, train_privately
from moc.networks import NetworkSpec


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_learns_digits_within_its_budget(digits, tmp_path):
    train, test = digits.split([1000, 300], seed=0)
    sigma = sampled_noise_multiplier(8.0, delta=1e-5, sample_rate=0.25, count=25)
    training = PrivateTraining(
        network=NetworkSpec.parse("convnet2-w8"), noise_multiplier=sigma, steps=25, batch=250
    )
    ledger = ledger_of(train, epsilon=8.0)
    network = train_privately(ledger, training, folder=tmp_path / "teacher")[0]
    held_out = Ledger(None)
    held_out.own("test", test)
    x, y = reference_records(held_out, "test")
    assert float((network(x).argmax(1) == y).float().mean()) > 0.7
    assert not network.training
    assert all(not p.requires_grad for p in network.parameters())
    assert 7.9 < ledger.epsilon() <= 8.0
    assert ledger.epsilon() == epsilon([training.mechanism(1000)], delta=1e-5)
    assert "rate 0.25" in ledger.words()[0]
    assert "25 step(s)" in ledger.words()[0]
    assert "charged to every rung" in ledger.words()[0]


def test_it_is_stored_byte_for_byte_and_read_back(tmp_path):
    training = training_of(count=2)
    steps = []
    first = train_privately(
        ledger_of(sealed(12), path=tmp_path / "l"),
        training,
        folder=tmp_path / "t",
        progress=lambda *done: steps.append(done),
    )
    files = {path: path.read_bytes() for path in (tmp_path / "t").rglob("*.safetensors")}
    assert len(files) == 2
    assert steps == [(i, 6) for i in range(1, 7)]
    again = train_privately(
        ledger_of(sealed(12), path=tmp_path / "l"),
        training,
        folder=tmp_path / "t",
        progress=lambda *_: pytest.fail("trained again"),
    )
    assert files == {path: path.read_bytes() for path in (tmp_path / "t").rglob("*.safetensors")}
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    assert not torch.equal(first[0].head.weight, first[1].head.weight)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"noise_multiplier": 0.4, "count": 2}, BudgetExceededError, "training/1"),
        ({"noise_multiplier": 0.1}, BudgetExceededError, "Nothing was read"),
        ({"noise_multiplier": 0.0}, PrivacyError, "positive noise"),
        ({"clip": 0.0}, PrivacyError, "positive L2"),
        ({"batch": 13}, PrivacyError, "1 to 12 records"),
        ({"batch": 0}, PrivacyError, "1 to 12 records"),
        (
            {
                "attack": Attack(name="pgd-ce", steps=2, random_start=True),
                "threat": Threat(eps=0.1),
            },
            PrivacyError,
            "treat each by itself",
        ),
    ],
)
def test_what_is_refused_is_refused_before_a_record_is_read(
    changes, error, message, tmp_path, monkeypatch
):
    monkeypatch.setattr(ledger_module, "unseal", lambda _: pytest.fail("T was read"))
    with pytest.raises(error, match=message):
        train_privately(
            ledger_of(sealed(12), epsilon=12.0),
            training_of(**{"batch": 2, "steps": 1, **changes}),
            folder=tmp_path,
        )
    assert not list(tmp_path.iterdir())


def test_a_training_killed_in_the_middle_starts_again_for_the_same_payment(tmp_path):
    training = training_of(count=2, steps=4)

    def killed(done, total):
        if done == 6:  # in the middle of the second network
            raise KeyboardInterrupt

    def train(**how):
        ledger = ledger_of(sealed(12), path=tmp_path / "l")
        return train_privately(ledger, training, folder=tmp_path / "t", **how), ledger

    with pytest.raises(KeyboardInterrupt):
        train(progress=killed)
    kept = (tmp_path / "t" / "0" / "network.safetensors").read_bytes()
    paid = ledger_of(sealed(12), path=tmp_path / "l").epsilon()
    networks, ledger = train()
    assert len(networks) == 2
    assert (tmp_path / "t" / "0" / "network.safetensors").read_bytes() == kept
    assert ledger.epsilon() == paid
    kinds = [e["event"] for e in events(tmp_path / "l")]
    assert kinds == ["reserved", "reserved", "finished", "finished"]


def test_a_network_that_was_published_and_lost_is_not_trained_again(tmp_path):
    training = training_of(count=2)
    train_privately(ledger_of(sealed(12), path=tmp_path / "l"), training, folder=tmp_path / "t")
    (tmp_path / "t" / "1" / "network.safetensors").unlink()
    with pytest.raises(PrivacyError, match="second release"):
        train_privately(ledger_of(sealed(12), path=tmp_path / "l"), training, folder=tmp_path / "t")


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 4},
        {"batch": 5},
        {"clip": 2.0},
        {"seed": 1},
        {"lr": 0.1},
        {"noise_multiplier": 2e3},
    ],
)
def test_it_is_not_read_back_under_other_settings(changes, tmp_path):
    training = training_of()
    train_privately(ledger_of(sealed(12), path=tmp_path / "l"), training, folder=tmp_path / "t")
    with pytest.raises(PrivacyError, match="was paid for as"):
        train_privately(
            ledger_of(sealed(12), path=tmp_path / "l"),
            replace(training, **changes),
            folder=tmp_path / "t",
        )


def test_a_network_of_another_ledger_is_not_taken_over(tmp_path):
    train_privately(ledger_of(sealed(12)), training_of(), folder=tmp_path / "t")
    with pytest.raises(PrivacyError, match="never paid for"):
        train_privately(ledger_of(sealed(12)), training_of(), folder=tmp_path / "t")


def test_files_in_its_place_are_not_written_over(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "notes.txt").write_text("mine")
    with pytest.raises(PrivacyError, match="never written over"):
        train_privately(ledger_of(sealed(12)), training_of(), folder=tmp_path)


def test_records_may_be_attacked_and_the_ledger_says_how(tmp_path):
    attack = Attack(name="pgd-ce", steps=2)
    plain, attacked = (
        training_of(name="convnet2-w8", batch=12, steps=1, noise_multiplier=1e-6, **how)
        for how in ({}, {"attack": attack, "threat": Threat(eps=0.2)})
    )
    networks = []
    for i, training in enumerate((plain, attacked)):
        ledger = Ledger(None)
        ledger.own("train", sealed(12))
        networks += train_privately(ledger, training, folder=tmp_path / str(i))
    assert "attacked by pgd-ce-2 within Linf 0.2" in ledger.words()[0]
    difference = networks[0].head.weight - networks[1].head.weight
    assert difference.norm() > 1e-3, "the attack changed nothing"


def test_it_composes_with_a_release_in_one_ledger(tmp_path):
    ledger = ledger_of(sealed(12), epsilon=40.0, path=tmp_path / "l")
    training = training_of(noise_multiplier=1.0, count=2)
    train_privately(ledger, training, folder=tmp_path / "t")
    paid = events(tmp_path / "l")
    parts = [
        Gaussian(noise_multiplier=e["ladder"][0], sample_rate=e["sample_rate"], count=e["count"])
        for e in paid
        if e["event"] == "reserved"
    ]
    assert parts == [Gaussian(noise_multiplier=1.0, sample_rate=4 / 12, count=3)] * 2
    assert ledger.epsilon(0) == ledger.epsilon(7) == epsilon(parts, delta=1e-5)
    assert ledger.epsilon() == epsilon([training.mechanism(12)], delta=1e-5) < 40.0


def test_discrete_noise_is_of_the_same_size(tmp_path):
    norms = {}
    for tier in ("standard", "hardened"):
        training = training_of(name="convnet2-w8", tier=tier, steps=1, lr=0.1)
        ledger = ledger_of(sealed(12))
        network = train_privately(ledger, training, folder=tmp_path / tier)[0]
        moved = network.head.weight - training.start(0, ledger.info("train")).head.weight.detach()
        norms[tier] = float(moved.norm()) / (0.1 * ROUGH / 4) / moved.numel() ** 0.5
    assert norms["standard"] == pytest.approx(1.0, abs=0.2)
    assert norms["hardened"] == pytest.approx(1.0, abs=0.2)
    assert "OpenDP" in ledger.words()[0]
