"""Class shares from noisy counts: right where they say something, even where they do not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from evidence_tools import ledger_of
from hypothesis import given
from hypothesis import strategies as st

from moc.networks.bank import Bank
from moc.data.vault import DataInfo, RealData
from moc.evidence import Ladder, Moments, Statistics, draw
from moc.privacy.rungs import Rung
from moc.evidence.shares import class_shares
from moc.statistics.base import GRID
from moc.networks import NetworkSpec

INFO = DataInfo(name="toy", shape=(6,), classes=("a", "b", "c"), count=1000)


def statistics(counts=0.04, info=INFO) -> Statistics:
    bank = Bank(info=info, specs=(NetworkSpec.parse("mlp1-w5"),), seed=0)
    return Statistics(bank=bank, networks=1, mean=1 - counts, counts=counts, batch=64)


def rung(found, noise: float, counts=0.04) -> Rung:
    """A rung whose noisy counts are `found` records."""
    steps = GRID * math.sqrt(counts) * torch.tensor(found, dtype=torch.float64)
    nothing = torch.zeros(0)
    return Rung(epsilon=1.0, first=nothing, second=nothing, counts=steps, noise=noise)


def test_counts_without_noise_are_the_shares():
    shares = class_shares(statistics(), rung([700.0, 200.0, 100.0], noise=0.0))
    torch.testing.assert_close(shares, torch.tensor([0.7, 0.2, 0.1]))


def test_without_counts_the_classes_are_taken_to_be_of_one_size():
    none = replace(rung([], noise=3.0), counts=torch.zeros(0, dtype=torch.float64))
    shares = class_shares(statistics(counts=0.0), none)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3))


@given(
    found=st.lists(st.floats(-1e5, 1e5), min_size=3, max_size=3),
    noise=st.sampled_from([0.0, 0.5, 4.0, 1e4]),
)
def test_shares_are_positive_and_sum_to_one_whatever_the_noise_did(found, noise):
    shares = class_shares(statistics(), rung(found, noise=noise))
    assert shares.min() > 0
    assert shares.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_noise_alone_leaves_the_classes_even_on_average_and_helps_where_they_are_not():
    """Over many draws they err less than the counts as they are; for even classes, far less."""
    generator = torch.Generator().manual_seed(0)
    std = 20.0  # records; the noise multiplier is a fifth of it, by the weight
    for truth, gain in (([334.0, 333.0, 333.0], 0.7), ([700.0, 200.0, 100.0], 1.01)):
        kept, raw = 0.0, 0.0
        for _ in range(400):
            noise = std * torch.randn(3, generator=generator, dtype=torch.float64)
            noisy = torch.tensor(truth, dtype=torch.float64) + noise
            shares = class_shares(statistics(), rung(noisy.tolist(), noise=std * 0.2))
            kept += float((shares - torch.tensor(truth) / 1000).square().sum())
            raw += float((noisy - torch.tensor(truth)).div(1000).square().sum())
        assert kept < gain * raw


def test_a_release_of_uneven_classes_tells_their_shares(tmp_path):
    """Drawn, stored and read back: within five standard deviations of its own noise."""
    info = replace(INFO, classes=("a", "b"), count=2000)
    y = (torch.arange(2000) < 200).long()
    x = torch.rand(2000, 6, generator=torch.Generator().manual_seed(0))
    ledger = ledger_of(RealData(info=info, x=x, y=y), epsilon=8.0)
    ladder = Ladder(epsilons=(8.0, 4.0))
    rungs = draw(ledger, statistics(info=info), ladder, folder=tmp_path / "release")
    moments = Moments(statistics(info=info), rungs)
    found = moments.view(0, [0, 1]).clean().class_shares()
    for shares, noise in zip(found, ladder.multipliers(), strict=True):
        five = 5 * noise / (2000 * math.sqrt(0.04))
        assert shares[1].item() == pytest.approx(0.1, abs=five)
        assert abs(shares[1].item() - 0.5) > five
