"""The audit: close below the claim where all is well, above it where it is not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from evidence_checks import check_audit
from evidence_tools import LADDER, HeadAttack, squared, tame
from scipy.stats import binom, norm

from moc.attacks import Attack
from moc.evidence import AuditReport, BankReport, Ladder, audit_bank, audit_release, audit_study
from moc.evidence import gaussian_audit as audit_module
from moc.evidence.canary import neighbours
from moc.evidence.statistics import GRID
from moc.evidence.sums import Sums, norm_of


def test_the_release_passes_its_audit():
    check_audit()


@pytest.mark.parametrize(
    ("ladder", "weights"),
    [
        (LADDER, {}),
        (replace(LADDER, share=0.4), {"mean": 0.5, "second": 0.5}),
        (Ladder(epsilons=(10.0,)), {"mean": 0.0, "second": 1.0}),
        (LADDER, {"mean": 0.5, "second": 0.2, "counts": 0.3}),
    ],
)
def test_the_bound_is_close_to_the_claim_and_not_above(ladder, weights):
    reports = audit_release(ladder, **weights)
    assert len(reports) == len(ladder.epsilons) + (len(ladder.epsilons) > 1)
    for report, sigma in zip(reports, ladder.multipliers(), strict=False):
        assert report.passed
        assert report.claimed_mu == pytest.approx(1 / sigma)
        assert report.mu_lower > 0.9 * report.claimed_mu - 0.03
        assert report.epsilon_lower < report.claimed_epsilon
        assert report.runs == 200_000


def test_the_hardened_tier_is_audited_too():
    (report,) = audit_release(Ladder(epsilons=(8.0,)), tier="hardened", runs=5000)
    assert report.passed
    assert report.mu_lower > 1.3


def test_the_canary_is_the_worst_there_can_be():
    for weights in ((1.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.2, 0.3)):
        without, present = neighbours(*weights)
        assert 0.9999 < math.sqrt(squared(present - without)) / GRID <= 1


def test_clopper_pearson_bounds_hold_at_their_level():
    for wrong, runs in ((0, 100), (3, 100), (50, 100), (99, 100)):
        bound = audit_module.upper_rate(wrong, runs)
        assert binom.cdf(wrong, runs, bound) == pytest.approx(5e-7, rel=1e-3)
    assert audit_module.upper_rate(100, 100) == 1.0


def test_a_gaussian_shift_is_measured():
    generator = torch.Generator().manual_seed(0)
    absent = torch.randn(20_000, generator=generator, dtype=torch.float64)
    report = audit_module._report("shift", 1.0, [absent + 1.5, absent], 0.75, 1e-5)
    assert not report.passed
    assert 1.35 < report.mu_lower < 1.5
    assert "FAILED" in report.words()
    # A useless attack establishes nothing.
    blind = audit_module._report("blind", 1.0, [absent, absent], 0.75, 1e-5)
    assert (blind.mu_lower, blind.epsilon_lower) == (0.0, 0.0)
    assert blind.passed
    assert norm.cdf(0.75) < 1


def test_a_study_is_audited_rung_by_rung_on_its_own_networks(digits):
    statistics = tame(digits.info, networks=3, second=0.5, width=6)
    attack = HeadAttack(Attack(name="fgsm", steps=1), digits.info)
    bank, handling, *rungs = audit_study(statistics, LADDER, "standard", attack=attack)
    assert isinstance(bank, BankReport)
    assert 0.5 < bank.moved <= 1
    assert [type(rung) for rung in rungs] == [AuditReport] * 4
    assert all(report.passed for report in (bank, handling, *rungs))
    assert [rung.name for rung in rungs] == [
        "rung epsilon 8",
        "rung epsilon 2",
        "rung epsilon 1",
        "all rungs together",
    ]
    assert "claimed: 8)" in rungs[0].words()
    assert "3 networks of the study: passed" in bank.words()
    assert "handling of the release: passed" in handling.words()


def test_networks_that_do_not_keep_records_apart_fail(digits):
    attack = HeadAttack(Attack(name="square", steps=3), digits.info)
    report = audit_bank(tame(digits.info, networks=1), attack=attack)
    assert not report.passed
    assert "FAILED; What a record adds" in report.words()
    assert not replace(report, fault="", moved=1.01).passed


def test_norms_are_exact():
    sums = Sums(first=torch.tensor([[[3 * 2**30, 0]]]), second=torch.tensor([[4 * 2**30]]))
    assert norm_of(sums.flat()) == 5 * 2**30
