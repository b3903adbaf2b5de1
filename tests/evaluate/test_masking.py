from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

from moc.attacks import AttackError, Threat
from moc.attacks.gradient import PgdCe
from moc.evaluate.masking import (
    adversarial_to,
    alike,
    falling,
    few_zero_gradients,
    masking_report,
    near_chance,
    no_weaker,
    same_twice,
    settled,
)

pytestmark = pytest.mark.usefixtures("in_full")

LINF, L2 = Threat(eps=0.1), Threat(norm="L2", eps=0.5)
THREATS = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)

DETERMINISTIC = "the forward pass is deterministic"
GRADIENTS = "few gradients are zero"
FGSM = "PGD is no weaker than FGSM"
STEPS = "more steps are no weaker"
EPS = "accuracy falls as eps grows"
CHANCE = "large eps leaves no more than chance"
LOSSES = "cross-entropy and margin agree"
SETTLED = f"{LOSSES}, or APGD-T finds no more"
NOISE = "PGD is no weaker than noise"
SQUARE = "white box is no weaker than Square"
TRANSFER = "white box is no weaker than transfer from network {}"
ALL = [DETERMINISTIC, GRADIENTS, FGSM, STEPS, EPS, CHANCE, LOSSES, NOISE, SQUARE]


class Planted(nn.Module):
    """A network behind something that hides its gradient."""

    def __init__(self, inner, *, before=lambda x: x, factor=1.0):
        super().__init__()
        self.inner, self.before, self.factor = inner, before, factor

    def forward(self, x):
        return self.inner(self.before(x)) * self.factor


class Straight(torch.autograd.Function):
    """Identity whose gradient points the wrong way."""

    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, gradient):
        return -gradient


def shares(n, right):
    """Outcomes (n,) of which the first `right` are right."""
    return torch.arange(n) < right


@pytest.fixture(scope="module")
def data():
    digits = load_digits()
    x = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    return x, torch.tensor(digits.target)


def trained(data, *, seed, attack=None):
    x, y = data[0][:1200], data[1][:1200]
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(8):
        for rows in torch.randperm(1200, generator=generator).split(100):
            images = x[rows]
            if attack:
                images = attack(model, images, y[rows], threat=LINF, classes=10, seed=0)
            optimizer.zero_grad()
            F.cross_entropy(model(images), y[rows]).backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def honest(data):
    return trained(data, seed=0)


@pytest.fixture(scope="module")
def others(data):
    """What a report transfers from: a plainly and an adversarially trained network."""
    return trained(data, seed=1), trained(data, seed=2, attack=PgdCe(steps=3))


@pytest.fixture
def probes(data):
    return data[0][1200:1400], data[1][1200:1400]


def report(model, probes, threat, others=()):
    how = {"threat": threat, "classes": 10, "seed": 0}
    moved = [adversarial_to(other, *probes, **how) for other in others]
    checks = masking_report(model, *probes, **how, transferred=moved)
    return {check.name: check for check in checks}


def failures(checks):
    return {name for name, check in checks.items() if not check.passed}


# Whole networks


@THREATS
def test_an_honest_network_passes_everything(honest, others, probes, threat):
    checks = report(honest, probes, threat, others=others)
    assert list(checks) == [*ALL, TRANSFER.format(1), TRANSFER.format(2)]
    assert not failures(checks), {name: checks[name].detail for name in failures(checks)}


def test_an_adversarially_trained_network_passes_everything(honest, others, probes):
    checks = report(others[1], probes, LINF, others=[honest])
    assert not failures(checks), {name: checks[name].detail for name in failures(checks)}


@THREATS
def test_quantised_inputs_are_found_out(honest, others, probes, threat):
    masked = Planted(honest, before=lambda x: (8 * x).round() / 8)
    failed = failures(report(masked, probes, threat, others=others[:1]))
    assert {GRADIENTS, CHANCE, SQUARE, TRANSFER.format(1)} <= failed


def test_over_scaled_logits_are_found_out(honest, probes):
    assert failures(report(Planted(honest, factor=1e4), probes, LINF)) == {GRADIENTS}


def test_a_ripple_over_the_input_is_found_out(honest, probes):
    """Gradients that are large, alive and useless: iterated steps get lost, one step does not."""
    masked = Planted(honest, before=lambda x: x + 0.02 * torch.sin(200 * x))
    failed = failures(report(masked, probes, LINF))
    assert {FGSM, SQUARE} <= failed
    assert GRADIENTS not in failed


def test_gradients_of_the_wrong_sign_are_found_out(honest, probes):
    failed = failures(report(Planted(honest, before=Straight.apply), probes, LINF))
    assert {CHANCE, SQUARE} <= failed


def test_steps_that_get_lost_are_found_out(honest, probes):
    masked = Planted(honest, before=lambda x: x + 0.02 * torch.sin(200 * x))
    assert STEPS in failures(report(masked, probes, L2))


def test_noise_that_beats_the_gradient_is_found_out(honest, probes):
    masked = Planted(honest, before=lambda x: (4 * x).round() / 4)
    assert NOISE in failures(report(masked, probes, Threat(eps=0.4)))


def test_under_confident_logits_are_left_to_a_loss_without_scale(honest, probes):
    """Cross-entropy then pushes towards all wrong classes at once, the margin towards the next.

    As with soft labels, label smoothing, and regressions on one-hot labels.
    """
    checks = report(Planted(honest, factor=0.05), probes, LINF)
    assert LOSSES not in checks
    assert checks[SETTLED].passed
    assert checks[SETTLED].detail.count("against") == 2
    assert not failures(checks)


@pytest.mark.parametrize("more", [0, 8, 40])
def test_losses_that_disagree_fail_only_where_a_targeted_attack_finds_more(more):
    apart = alike(LOSSES, shares(1000, 500), shares(1000, 400))
    targeted = no_weaker("", strong=shares(1000, 400), weak=shares(1000, 400 - more))
    check = settled(apart, targeted)
    assert not apart.passed
    assert check.name == SETTLED
    assert check.passed is (more < 10)
    assert apart.detail in check.detail
    assert targeted.detail in check.detail


def test_a_random_network_is_found_out(honest, probes):
    noisy = Planted(honest, before=lambda x: x + 0.1 * torch.randn_like(x))
    assert DETERMINISTIC in failures(report(noisy, probes, LINF))


def test_the_report_is_repeatable_and_leaves_the_network_alone(honest, probes):
    model = nn.Sequential(nn.Dropout(0.5), honest).train()
    first = report(model, probes, LINF)
    assert first == report(model, probes, LINF)
    assert not failures(first)
    assert model.training


def test_normalised_images_are_refused(honest, probes):
    x, y = probes
    with pytest.raises(AttackError, match="normalisation inside the model"):
        report(honest, ((x - 0.3) / 0.4, y), LINF)


# The questions one by one


@given(n=st.integers(1, 2000), share=st.floats(0, 1), extra=st.floats(0, 1))
def test_a_stronger_attack_always_passes(n, share, extra):
    strong = shares(n, round(n * share))
    assert no_weaker("", strong=strong, weak=strong | shares(n, round(n * extra))).passed


@pytest.mark.parametrize(("gap", "passes"), [(0, True), (10, True), (30, False), (300, False)])
def test_a_weaker_attack_fails_beyond_chance_and_one_point(gap, passes):
    check = no_weaker("", strong=shares(1000, 400 + gap), weak=shares(1000, 400))
    assert check.passed is passes
    assert f"{0.4 + gap / 1000:.1%} against 40.0%" in check.detail


def test_chance_is_that_of_pairs():
    """Ten records that moved one way are no chance; thirty one way, twenty the other, are."""
    base = torch.zeros(400, dtype=torch.bool)
    one_way, many, back = base.clone(), base.clone(), base.clone()
    one_way[:20], many[:50], back[50:90] = True, True, True
    assert not no_weaker("", strong=one_way, weak=base).passed
    assert no_weaker("", strong=many, weak=back).passed


def test_few_records_prove_little():
    assert no_weaker("", strong=shares(20, 9), weak=shares(20, 8)).passed


@pytest.mark.parametrize(("gap", "passes"), [(0, True), (20, True), (45, False)])
def test_losses_must_agree_both_ways(gap, passes):
    a, b = shares(1000, 400 + gap), shares(1000, 400)
    assert alike("", a, b).passed is alike("", b, a).passed is passes


def test_one_rise_spoils_a_falling_curve():
    levels = [shares(500, right) for right in (450, 400, 300, 10)]
    assert falling("", levels).passed
    assert not falling("", [levels[0], levels[2], levels[1], levels[3]]).passed
    assert falling("", levels).detail == "90.0%, 80.0%, 60.0%, 2.0%"


@pytest.mark.parametrize(("right", "passes"), [(0, True), (100, True), (125, True), (200, False)])
def test_chance_depends_on_the_number_of_classes(right, passes):
    assert near_chance("", shares(1000, right), 10).passed is passes
    assert near_chance("", shares(1000, right), 4).passed


@pytest.mark.parametrize("dead", [0, 2, 3, 300])
def test_the_share_of_zero_gradients_is_exact(dead):
    """Gates one record in a hundred, over several batches."""
    gate = (torch.arange(300) >= dead).float()
    x = torch.rand(300, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    x[:, 0, 0, 0] = gate
    model = nn.Sequential(Gate(), nn.Flatten(), nn.Linear(16, 3))
    check = few_zero_gradients(model, x, torch.zeros(300, dtype=torch.long))
    assert check.passed is (dead <= 3)
    assert check.detail.startswith(f"{dead / 300:.1%} of records")


class Gate(nn.Module):
    """Cuts the gradient of the records whose first pixel is black."""

    def forward(self, x):
        return torch.where(x[:, :1, :1, :1] > 0.5, x, x.detach())


def test_no_gradient_at_all_counts_as_zero(honest, probes):
    constant = Planted(honest, before=lambda x: x.detach()).requires_grad_(False)
    check = few_zero_gradients(constant, *probes)
    constant.requires_grad_(True)
    assert not check.passed
    assert check.detail.startswith("100.0%")


def test_gradients_that_are_no_numbers_count_as_zero(honest, probes):
    rooted = Planted(honest, before=lambda x: x + 0 * (x - x.detach()).abs().sqrt())
    assert not few_zero_gradients(rooted, *probes).passed


def test_dropout_is_off_when_asking_for_determinism(honest, probes):
    model = nn.Sequential(nn.Dropout(0.5), honest).train()
    assert same_twice(model, probes[0]).passed
