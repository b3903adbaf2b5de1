"""Membership inference: clear on networks that saw the records, nothing on those that did not."""

from __future__ import annotations

import math
import re

import pytest
import torch
from privacy.private_tools import ledger_of

from moc.attacks.threat import Threat
from moc.audit.inference import ATTACKS
from moc.audit.membership import WARNING, infer
from moc.audit.subject import MembershipSubject
from moc.data.vault import unseal
from moc.evaluate.protocols import PROTOCOLS
from moc.networks.train import fit
from moc.privacy.held_out import reference_records
from moc.privacy.ledger import Ledger

RUNS = 8
THREAT = Threat(norm="Linf", eps=0.1)


@pytest.fixture
def parts(digits):
    """T, and as many records that are in no run."""
    return digits.split([160, 160], seed=0)


def control(data, source_of):
    """The finding on networks trained directly on the records that `source_of` gives for a run."""
    subject = MembershipSubject(data, seed=0)
    protocol = PROTOCOLS.make({"kind": "fast", "network": "mlp1-w64", "epochs": 60})
    training = protocol.resolve(data.info, THREAT)
    odds = []
    for run in range(RUNS):
        ledger = Ledger(None)
        part = source_of(subject, run)
        ledger.own("train", part)
        x, y = reference_records(ledger, "train")
        odds.append(subject.odds([fit(x, y, part.info, training, seed=0)], device="cpu"))
    member = torch.stack([subject.members(run) for run in range(RUNS)])
    return infer(torch.stack(odds), member, claimed=1.0, delta=1e-5)


def found_at_one_percent(finding):
    """(TPR, lower, upper) of each attack at a false-positive rate of 1 %, as a person reads it."""
    pattern = r"(\w+): AUC [^\n]*?alarms: ([\d.]+)% \(([\d.]+)% to ([\d.]+)%\) at 1.0%"
    found = re.findall(pattern, finding.details)
    return {attack: tuple(float(rate) / 100 for rate in rates) for attack, *rates in found}


def test_networks_trained_on_the_records_themselves_give_them_away(parts):
    finding = control(parts[0], MembershipSubject.part)
    rates = found_at_one_percent(finding)
    for attack in ATTACKS:
        assert finding.values[f"auc_{attack}"] > 0.7, finding.describe()
        tpr, low, high = rates[attack]
        assert 0.03 < low < tpr < high
    assert finding.values["epsilon"] > 1.2
    assert not finding.passed
    assert finding.describe().startswith("membership: FAILED")


def test_networks_that_saw_other_records_give_nothing_away(parts):
    other = MembershipSubject(parts[1], seed=7)
    finding = control(parts[0], lambda _, run: other.part(run))
    for attack in ATTACKS:
        assert 0.46 < finding.values[f"auc_{attack}"] < 0.54, finding.describe()
    assert finding.values["epsilon"] == 0.0
    assert finding.passed


def test_a_run_owns_exactly_those_that_are_in_and_declares_a_constant(parts):
    subject = MembershipSubject(parts[0], seed=3)
    whole = unseal(parts[0])
    counts = set()
    for run in range(20):
        part, member = subject.part(run), subject.members(run)
        assert torch.equal(unseal(part).x, whole.x[member])
        assert torch.equal(unseal(part).y, whole.y[member])
        assert (part.info.count, len(part)) == (80, 80)
        counts.add(int(member.sum()))
    assert len(counts) > 3, "coins are not independent if the size of a half is fixed"
    members = torch.stack([subject.members(run) for run in range(500)]).double()
    assert abs(members.mean() - 0.5) < 0.01
    assert members.T.corrcoef().fill_diagonal_(0.0).abs().max() < 0.3


def test_the_owners_reading_is_written_down_as_what_it_is(parts):
    subject = MembershipSubject(parts[0], seed=0)
    assert "read as they are: not private" in subject.ledger.describe()[0]
    assert math.isinf(subject.ledger.epsilon())
    ledger = ledger_of(subject.part(0))
    assert ledger.epsilon() == 0.0, "a run's own ledger knows nothing of it"


def test_the_report_says_what_it_is_and_beside_what_claim():
    generator = torch.Generator().manual_seed(0)
    member = torch.rand(8, 300, generator=generator) < 0.5
    odds = torch.randn(8, 300, generator=generator, dtype=torch.float64)
    finding = infer(odds, member, claimed=math.inf, delta=1e-5)
    assert finding.passed
    assert finding.values["epsilon"] == 0.0
    text = finding.describe()
    assert "claimed: no privacy" in text
    assert "nothing found proves nothing" in text
    assert text.endswith(WARNING)
    assert "8 runs" in text
    clear = infer(odds + 50 * member, member, claimed=2.0, delta=1e-5)
    assert all(clear.values[f"auc_{attack}"] > 0.9 for attack in ATTACKS)
    assert clear.values["epsilon"] > 2.5
    assert not clear.passed
    with pytest.raises(ValueError, match="At least 4"):
        infer(odds[:3], member[:3], claimed=1.0, delta=1e-5)


def test_bounds_exceed_the_truth_as_rarely_as_they_say():
    """Records shown by randomised response at epsilon 1, twelve comparisons to a finding."""
    wrong = 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        member = torch.rand(6, 60, generator=generator) < 0.5
        lies = torch.rand(6, 60, generator=generator) > 1 / (1 + math.exp(-1.0))
        odds = torch.where(member ^ lies, 1.0, -1.0).double()
        odds += 1e-3 * torch.rand(6, 60, generator=generator)
        wrong += infer(odds, member, claimed=1.0, delta=1e-5).values["epsilon"] > 1.0
    assert wrong <= 5
