"""Membership inference: clear on networks that saw the records, nothing on those that did not."""

from __future__ import annotations

import math

import pytest
import torch
from evidence_tools import ledger_of

from moc.attacks import Threat
from moc.data._vault import unseal
from moc.evaluate import fit, make_protocol
from moc.evidence import Ledger, reference_records
from moc.evidence.membership import WARNING, infer
from moc.evidence.owner import Owner

RUNS = 8
THREAT = Threat(norm="Linf", eps=0.1)


@pytest.fixture(scope="module")
def parts(digits):
    """T, and as many records that are in no run."""
    return digits.split([160, 160], seed=0)


def control(data, source_of):
    """The report on networks trained directly on the records that `source_of` gives for a run."""
    owner = Owner(data, seed=0)
    protocol = make_protocol("fast", data.info, THREAT, network="mlp1-w64", epochs=60)
    odds = []
    for run in range(RUNS):
        ledger = Ledger(None)
        part = source_of(owner, run)
        ledger.own("train", part)
        x, y = reference_records(ledger, "train")
        odds.append(owner.odds([fit(x, y, part.info, protocol, seed=0)], device="cpu"))
    member = torch.stack([owner.members(run) for run in range(RUNS)])
    return infer(torch.stack(odds), member, claimed=1.0, delta=1e-5)


def test_networks_trained_on_the_records_themselves_give_them_away(parts):
    report = control(parts[0], Owner.part)
    for found in report.detections:
        assert found.auc > 0.7, found.words()
        (_, tpr, low, high), _ = found.rates
        assert 0.03 < low < tpr < high
    assert report.epsilon_lower > 1.2
    assert not report.passed
    assert "FAILED: epsilon at least" in report.words()


def test_networks_that_saw_other_records_give_nothing_away(parts):
    other = Owner(parts[1], seed=7)
    report = control(parts[0], lambda _, run: other.part(run))
    for found in report.detections:
        assert 0.46 < found.auc < 0.54, found.words()
    assert report.epsilon_lower == 0.0
    assert report.passed


def test_a_run_owns_exactly_those_that_are_in_and_declares_a_constant(parts):
    owner = Owner(parts[0], seed=3)
    whole = unseal(parts[0])
    counts = set()
    for run in range(20):
        part, member = owner.part(run), owner.members(run)
        assert torch.equal(unseal(part).x, whole.x[member])
        assert torch.equal(unseal(part).y, whole.y[member])
        assert (part.info.count, len(part)) == (80, 80)
        counts.add(int(member.sum()))
    assert len(counts) > 3, "coins are not independent if the size of a half is fixed"
    members = torch.stack([owner.members(run) for run in range(500)]).double()
    assert abs(members.mean() - 0.5) < 0.01
    assert members.T.corrcoef().fill_diagonal_(0.0).abs().max() < 0.3


def test_the_owners_reading_is_written_down_as_what_it_is(parts):
    owner = Owner(parts[0], seed=0)
    assert "read as they are: not private" in owner.ledger.words()[0]
    assert math.isinf(owner.ledger.epsilon())
    ledger = ledger_of(owner.part(0))
    assert ledger.epsilon() == 0.0, "a run's own ledger knows nothing of it"


def test_the_report_says_what_it_is_and_beside_what_claim():
    generator = torch.Generator().manual_seed(0)
    member = torch.rand(8, 300, generator=generator) < 0.5
    odds = torch.randn(8, 300, generator=generator, dtype=torch.float64)
    report = infer(odds, member, claimed=math.inf, delta=1e-5)
    assert report.passed
    assert report.epsilon_lower == 0.0
    text = report.words()
    assert "claimed: no privacy" in text
    assert "nothing found proves nothing" in text
    assert text.endswith(WARNING)
    assert "8 runs" in text
    told = infer(odds + 50 * member, member, claimed=2.0, delta=1e-5)
    assert all(found.auc > 0.9 for found in told.detections)
    assert told.epsilon_lower > 2.5
    assert not told.passed
    with pytest.raises(ValueError, match="At least 4"):
        infer(odds[:3], member[:3], claimed=1.0, delta=1e-5)


def test_bounds_exceed_the_truth_as_rarely_as_they_say():
    """Records told by randomised response at epsilon 1, twelve comparisons to a report."""
    wrong = 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        member = torch.rand(6, 60, generator=generator) < 0.5
        lies = torch.rand(6, 60, generator=generator) > 1 / (1 + math.exp(-1.0))
        odds = torch.where(member ^ lies, 1.0, -1.0).double()
        odds += 1e-3 * torch.rand(6, 60, generator=generator)
        wrong += infer(odds, member, claimed=1.0, delta=1e-5).epsilon_lower > 1.0
    assert wrong <= 5
