"""Networks attacked and scored side by side fare as each of them in turn."""

from __future__ import annotations

import pytest
import torch

from moc.attacks.autoattack import ApgdCe, Square
from moc.attacks.gradient import Fgsm, MiFgsm, PgdCe, PgdMargin
from moc.attacks.threat import Threat
from moc.evaluate import trained as trained_module
from moc.evaluate.baselines import select
from moc.evaluate.examine import curves_together
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import Robustness
from moc.evaluate.scoring import count_outcomes, count_together
from moc.evaluate.suites import CustomSuite, PrivateSuite
from moc.evaluate.together import Together, stackable
from moc.evaluate.trained import Trained
from moc.networks.train import train
from moc.objectives.error import Right
from moc.objectives.robust_error import RightUnderAttack
from moc.privacy.held_out import HeldOut, reference_records
from moc.privacy.ledger import Ledger

MIXED = CustomSuite(
    attacks=(Fgsm(), PgdCe(steps=3, random_start=True), Square(steps=20), PgdMargin(steps=3))
)
MOMENTUM = CustomSuite(
    attacks=(MiFgsm(steps=3), PgdCe(steps=3, random_start=True), ApgdCe(steps=3))
)
SEEDS = (3, 1, 4)


@pytest.fixture(scope="module")
def parts(digits):
    def fresh():
        ledger = Ledger(None)
        for name, data in zip(("train", "test"), digits.split([300, 50], seed=0), strict=True):
            ledger.own(name, data)
        return ledger

    return fresh


@pytest.fixture(scope="module")
def synthetic(parts):
    ledger = parts()
    x, y = reference_records(ledger, "train")
    return select("random", x, y, ledger.info("train"), per_class=3, seed=0)


@pytest.fixture(scope="module")
def training(digits):
    return Fast(network="convnet2-w8", epochs=20).resolve(digits.info, Threat(eps=0.1))


@pytest.fixture(scope="module")
def networks(synthetic, training):
    return [train(synthetic, training, seed=seed) for seed in SEEDS]


@pytest.fixture
def stacked(monkeypatch):
    """Let a CPU do as a GPU does; returns which networks were stacked."""
    found = []

    def pays(device):
        found.append(device)
        return True

    for module in ("moc.evaluate.together", "moc.evaluate.trained"):
        monkeypatch.setattr(f"{module}.stacks_pay", pays)
    return found


@pytest.mark.parametrize("threat", [Threat(eps=0.08), Threat(eps=0.4, norm="L2")], ids=str)
@pytest.mark.parametrize("suite", [MIXED, MOMENTUM, PrivateSuite()], ids=["mixed", "m", "private"])
def test_every_network_meets_the_attacks_that_it_meets_alone(
    networks, parts, suite, threat, monkeypatch
):
    if threat.norm == "L2" and suite is MOMENTUM:
        suite = CustomSuite(attacks=suite.attacks[1:])
    x, y = reference_records(parts(), "test")
    how = {"suite": suite, "batch": 20}
    together = Together(networks=networks, threat=threat, seeds=SEEDS, **how).correct(x, y)
    assert 0 < together.float().mean() < 1
    for network, seed, own in zip(networks, SEEDS, together, strict=True):
        alone = Robustness(model=network, threat=threat, classes=10, seed=seed, **how)
        assert torch.equal(own, alone.correct(x, y))


def test_the_numbers_of_a_random_start_are_those_of_the_network_alone(networks, parts):
    """Not only the outcome: with one step of no size, the record that is shown is the start."""
    x, y = reference_records(parts(), "test")
    shown = []

    class Spy(PgdCe):
        def __call__(self, model, x, y, **options):
            shown.append(super().__call__(model, x, y, **options))
            return shown[-1]

    attack = Spy(steps=1, random_start=True)
    suite = CustomSuite.model_construct(attacks=(attack,))
    how = {"suite": suite, "batch": 20, "threat": Threat(eps=0.001)}
    Together(networks=networks, seeds=SEEDS, **how).correct(x, y)
    calls = len(shown)
    stacks = [one.unflatten(0, (len(SEEDS), -1)) for one in shown]
    for r, (network, seed) in enumerate(zip(networks, SEEDS, strict=True)):
        shown.clear()
        Robustness(model=network, classes=10, seed=seed, **how).correct(x, y)
        assert len(shown) <= calls
        for stack, own in zip(stacks, shown, strict=False):
            torch.testing.assert_close(stack[r, : len(own)], own, atol=2e-6, rtol=0)


def test_curves_against_the_budget_are_those_of_each_network(networks, parts):
    x, y = reference_records(parts(), "test")
    threats = [Threat(eps=eps) for eps in (0.02, 0.05, 0.1)]
    how = {"suite": MIXED, "threat": threats[-1]}
    together = Together(networks=networks, seeds=SEEDS, **how).curve(x, y, threats)
    for r, (network, seed) in enumerate(zip(networks, SEEDS, strict=True)):
        alone = Robustness(model=network, classes=10, seed=seed, **how).curve(x, y, threats)
        assert torch.equal(together[:, r], alone)


def test_scores_and_curves_of_a_study_are_the_same_in_a_stack(synthetic, training, parts, stacked):
    threat = Threat(eps=0.1)
    measures = {
        "error": Right(training=training),
        "robust_error": RightUnderAttack(training=training, suite=MIXED, threat=threat),
    }

    def measured():
        held_out, trained = HeldOut(parts(), "test"), Trained(synthetic, seeds=SEEDS)
        counts = count_outcomes(trained, measures=measures, held_out=held_out)
        how = {"training": training, "threat": threat, "held_out": held_out}
        (curve,) = curves_together([trained], **how)
        return torch.cat([counts._sums, curve._sums], dim=1)

    together = measured()
    assert stacked
    with pytest.MonkeyPatch.context() as plain:
        for module in ("moc.evaluate.together", "moc.evaluate.trained"):
            plain.setattr(f"{module}.stacks_pay", lambda _: False)
        apart = measured()
    # Rounding may carry a record that lies on a border over it.
    assert (together - apart).abs().max() <= 1
    assert together.sum() > 0


def test_sets_of_several_sizes_are_measured_together_as_each_by_itself(
    synthetic, training, parts, stacked
):
    x, y = reference_records(parts(), "train")
    sizes = {"per_class": 2, "seed": 1}, {"per_class": 3, "seed": 2}
    others = [select("random", x, y, synthetic.info, **one) for one in sizes]
    sets = [others[0], synthetic, others[1]]
    threat = Threat(eps=0.1)
    measures = {
        "error": Right(training=training),
        "robust_error": RightUnderAttack(training=training, suite=MIXED, threat=threat),
    }
    how = {"measures": measures, "held_out": HeldOut(parts(), "test")}
    closer = {"training": training, "threat": threat, "held_out": how["held_out"]}

    def measured(trained):
        return [*count_together(trained, **how), *curves_together(trained, **closer)]

    together = measured([Trained(one, seeds=SEEDS) for one in sets])
    assert stacked
    each = [measured([Trained(one, seeds=SEEDS)]) for one in sets]
    apart = [counts for kind in zip(*each, strict=True) for counts in kind]
    for counts, alone in zip(together, apart, strict=True):
        assert counts.bound == alone.bound
        # Rounding may carry a record that lies on a border over it.
        assert (counts._sums - alone._sums).abs().max() <= 1
    sums = [counts._sums for counts in together]
    assert not torch.equal(sums[0], sums[1])
    assert not torch.equal(sums[1], sums[2])


def test_a_cpu_trains_and_attacks_in_turn_and_so_do_networks_that_diverged(
    networks, synthetic, training, monkeypatch, stacked
):
    assert stackable(networks)
    assert not stackable(networks[:1])
    broken = train(synthetic, training, seed=0)
    broken.head.weight.data[0, 0] = torch.nan
    assert not stackable([*networks, broken])
    monkeypatch.undo()
    assert not stackable(networks)
    monkeypatch.setattr(trained_module, "fit_stack", None)
    assert len(Trained(synthetic, seeds=(1, 2)).by(training)) == 2
