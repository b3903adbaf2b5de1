"""The audit of DP training: close below what is paid for, and right where theory knows it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_checks import INFO, training_of

from moc.evidence import training_audit
from moc.evidence.accountant import Gaussian, sampled_noise_multiplier
from moc.evidence.training_audit import audit_training

DECLARED = replace(INFO, count=1000)


@pytest.mark.parametrize("target", [8.0, 2.0])
def test_the_bound_is_close_to_what_is_allowed_and_not_above(target):
    sigma = sampled_noise_multiplier(target, delta=1e-5, sample_rate=0.1, count=50)
    training = training_of(name="convnet2-w8", noise_multiplier=sigma, steps=50, batch=100)
    report = audit_training(training, DECLARED, delta=1e-5)
    assert report.passed
    assert 0.9999 < report.moved <= 1
    assert 0.8 * report.mu_allowed - 0.05 < report.mu_lower <= report.mu_allowed
    assert report.claimed_epsilon == pytest.approx(target, rel=0.01)
    assert report.runs == 100_000
    assert "DP training of 1 network: passed" in report.words()


def test_all_networks_of_a_training_are_audited_together():
    one = training_of(name="linear", noise_multiplier=3.0, steps=10, batch=500)
    both = audit_training(replace(one, count=2), DECLARED, delta=1e-5, runs=20_000)
    alone = audit_training(one, DECLARED, delta=1e-5, runs=20_000)
    assert both.mu_allowed > 1.2 * alone.mu_allowed
    assert both.mu_lower > alone.mu_lower
    assert "DP training of 2 networks" in both.words()


def test_the_hardened_tier_is_audited_too():
    training = training_of(name="linear", noise_multiplier=2.0, steps=4, batch=500, tier="hardened")
    report = audit_training(training, DECLARED, delta=1e-5)
    assert report.passed
    assert report.runs == 5000


@pytest.mark.parametrize("count", [1, 9])
def test_what_is_allowed_is_mu_where_every_record_is_in_every_step(count):
    """Without sampling, steps compose to one Gaussian: mu = sqrt(T) / sigma, at any threshold."""
    claim = Gaussian(noise_multiplier=4.0, sample_rate=1.0, count=count)
    threshold, allowed = training_audit._allowed(claim)
    exact = count**0.5 / 4.0
    assert exact < allowed < exact + 0.05
    # The median of the ratios without the record is their mean: -mu^2 / 2.
    assert threshold == pytest.approx(-(exact**2) / 2, abs=0.02)


def test_scores_without_the_record_average_to_a_likelihood():
    """E exp(LLR) = 1 without the record: the scores are ratios of densities."""
    claim = Gaussian(noise_multiplier=2.0, sample_rate=0.3, count=5)
    generator = torch.Generator().manual_seed(0)
    scores = training_audit._scores(
        claim, 400_000, lambda: 2.0 * torch.randn(400_000, generator=generator).double()
    )
    assert scores.exp().mean().item() == pytest.approx(1.0, abs=0.01)


def test_a_training_that_is_told_too_well_fails():
    report = audit_training(training_of(name="linear"), DECLARED, delta=1e-5, runs=1000)
    assert report.passed
    for fault in ({"moved": 1.01}, {"fault": "mixed"}, {"mu_lower": report.mu_allowed + 0.01}):
        assert not replace(report, **fault).passed
        assert "FAILED" in replace(report, **fault).words()
