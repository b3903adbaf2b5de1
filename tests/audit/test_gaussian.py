"""The mu-GDP audit: close below the claim where all is well, above it where it is not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from privacy.private_tools import (
    LADDER,
    Brightness,
    Centred,
    Cubes,
    moments,
    real,
    small,
    squared,
    toy,
)
from scipy.stats import binom

from moc.audit import gaussian as audit_module
from moc.audit.canary import neighbours
from moc.audit.gaussian import audit_release
from moc.audit.release import audit_round
from moc.audit.release_checks import audit_isolation
from moc.privacy.ladder import Ladder
from moc.privacy.sums import GRID
from moc.statistics.base import STATISTICS
from moc.statistics.fourier import Fourier

EVERY = {
    "second moments": moments(second=1.0),
    "three": moments(second=0.2, counts=0.3),
    "all that moc has": (
        Fourier(frequencies=2),
        *(STATISTICS.make(kind) for kind in sorted(STATISTICS.parts) if kind != "fourier"),
    ),
    "unknown to moc": (Brightness(weight=0.4, gain=50.0), Cubes()),
}


@pytest.mark.parametrize(
    ("ladder", "name"),
    [
        (replace(LADDER, share=0.4), "three"),
        (Ladder(epsilons=(10.0,)), "second moments"),
        (LADDER, "all that moc has"),
        (LADDER, "unknown to moc"),
    ],
)
def test_the_bound_is_close_to_the_claim_and_not_above(ladder, name):
    findings = audit_release(small(toy().info, EVERY[name]), ladder)
    assert len(findings) == len(ladder.epsilons) + (len(ladder.epsilons) > 1)
    for finding, sigma in zip(findings, ladder.multipliers, strict=False):
        values = finding.values
        assert finding.passed
        assert values["claimed_mu"] == pytest.approx(1 / sigma)
        assert values["mu"] > 0.9 * values["claimed_mu"] - 0.03
        assert values["epsilon"] < values["claimed_epsilon"]
        assert "200000 runs with it" in finding.details


def test_the_hardened_tier_is_audited_too():
    (finding,) = audit_release(
        small(toy().info), Ladder(epsilons=(8.0,)), tier="hardened", runs=5000
    )
    assert finding.passed
    assert finding.values["mu"] > 1.3


@pytest.mark.parametrize("name", EVERY)
def test_the_canary_is_the_worst_there_can_be(name):
    without, present = neighbours(small(toy().info, EVERY[name]))
    assert 0.9999 < math.sqrt(squared(present - without)) / GRID <= 1


def test_clopper_pearson_bounds_hold_at_their_level():
    for wrong, runs in ((0, 100), (3, 100), (50, 100), (99, 100)):
        bound = audit_module.upper_rate(wrong, runs)
        assert binom.cdf(wrong, runs, bound) == pytest.approx(5e-7, rel=1e-3)
    assert audit_module.upper_rate(100, 100) == 1.0


def test_a_gaussian_shift_is_measured():
    generator = torch.Generator().manual_seed(0)
    absent = torch.randn(20_000, generator=generator, dtype=torch.float64)
    shift = audit_module._finding("shift", 1.0, [absent + 1.5, absent], 0.75, 1e-5)
    assert not shift.passed
    assert 1.35 < shift.values["mu"] < 1.5
    assert "FAILED" in shift.describe()
    # A useless attack establishes nothing.
    blind = audit_module._finding("blind", 1.0, [absent, absent], 0.75, 1e-5)
    assert (blind.values["mu"], blind.values["epsilon"]) == (0.0, 0.0)
    assert blind.passed


@pytest.mark.parametrize(
    "statistics", [moments(second=0.5), (Brightness(weight=0.4), Cubes())], ids=["moc", "unknown"]
)
def test_a_round_is_audited_rung_by_rung_on_its_own_networks(digits, statistics):
    collection = real(digits.info, networks=3, statistics=statistics, width=6)
    bank, handling, *rungs = audit_round(collection, LADDER, "standard")
    assert 0 < bank.values["moved"] <= 1
    assert all(finding.passed for finding in (bank, handling, *rungs))
    assert [rung.name for rung in rungs] == [
        "rung epsilon 8",
        "rung epsilon 2",
        "rung epsilon 1",
        "all rungs together",
    ]
    assert "claimed: 8)" in rungs[0].describe()
    assert "3 networks of the study: passed" in bank.describe()
    assert "handling of the release: passed" in handling.describe()


def test_statistics_that_do_not_keep_records_apart_fail(digits):
    finding = audit_isolation(real(digits.info, networks=1, statistics=(Centred(),)))
    assert not finding.passed
    assert "FAILED; What a record adds" in finding.describe()


def test_a_record_that_moves_the_sums_too_far_fails(digits, monkeypatch):
    monkeypatch.setattr("moc.audit.release_checks.largest_move", lambda *_: 1.01)
    finding = audit_isolation(real(digits.info, networks=1))
    assert not finding.passed
    assert finding.values["moved"] == 1.01
