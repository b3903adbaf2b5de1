"""Every stage on a GPU gives what it gives on a CPU, up to rounding and TF32."""

from __future__ import annotations

import pytest
import torch
from gpu_device import DEVICE, needs_gpu
from tiny import TINY

from moc.attacks.gradient import Fgsm, PgdCe, PgdMargin
from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, PoolSettings, Start, Task, condense, condense_curves
from moc.data.augment import Augmentation
from moc.discrepancies.adversarial import Adversarial
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.ridge import RidgeRisk
from moc.evaluate.baselines import select
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.scoring import count_outcomes
from moc.evaluate.suites import CustomSuite
from moc.evaluate.trained import Trained
from moc.evidence.moments import Moments
from moc.evidence.samples import Samples
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.objectives.error import Right
from moc.objectives.robust_error import RightUnderAttack
from moc.privacy.collect import Collection
from moc.privacy.held_out import HeldOut, reference_records
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_means import ClassMeans
from moc.statistics.second_moments import SecondMoments
from moc.study.config import parse_config
from moc.study.run import run_study

pytestmark = [pytest.mark.gpu, needs_gpu]
THREAT = Threat(eps=0.1)
SUITE = CustomSuite(attacks=(Fgsm(), PgdCe(steps=3, random_start=True), PgdMargin(steps=3)))
ATTACKED = Adversarial(RidgeRisk(), attack=PgdMargin(steps=2), threat=THREAT, records=8)


@pytest.fixture
def parts(digits):
    def fresh():
        ledger = Ledger(None)
        for name, data in zip(("train", "test"), digits.split([300, 100], seed=0), strict=True):
            ledger.own(name, data)
        return ledger

    return fresh


@pytest.fixture(autouse=True)
def _stacks(monkeypatch):
    """In the small form, the CPU does as a GPU would."""
    if DEVICE == "cpu":
        for module in ("moc.evaluate.together", "moc.evaluate.trained", "moc.study.worklist"):
            monkeypatch.setattr(f"{module}.stacks_pay", lambda _: True)


def bank_on(device, ledger, **options):
    networks = (parse_network("convnet2-w16"),)
    return Bank(info=ledger.info("train"), networks=networks, seed=2, device=device, **options)


def test_a_seed_gives_the_same_network_on_any_device(parts):
    banks = [
        bank_on(device, parts(), augmentation=Augmentation.dsa(False)) for device in ("cpu", DEVICE)
    ]
    here, there = (bank.fresh(3) for bank in banks)
    for own, other in zip(here.network.parameters(), there.network.parameters(), strict=True):
        assert other.device.type == DEVICE
        assert torch.equal(own, other.cpu())
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(there(x.to(DEVICE)).cpu(), here(x), atol=5e-3, rtol=1e-2)


def test_batches_are_the_same_records_and_live_on_the_device(parts):
    ledgers = parts(), parts()
    here = Samples(ledgers[0], bank=bank_on("cpu", ledgers[0]), batch=32)
    there = Samples(ledgers[1], bank=bank_on(DEVICE, ledgers[1]), batch=32)
    for own, other in zip(here.batch(5, 32), there.batch(5, 32), strict=True):
        assert other.device.type == DEVICE
        torch.testing.assert_close(own, other.cpu(), atol=1e-6, rtol=0)
    y = torch.arange(10)
    torch.testing.assert_close(here.start(y, seed=1, rung=0), there.start(y, seed=1, rung=0))


def sums_on(device, parts, folder):
    ledger = parts()
    statistics = (ClassMeans(weight=0.5), SecondMoments())
    bank = bank_on(device, ledger, width=16)
    collection = Collection(bank=bank, networks=2, statistics=statistics)
    return collection, draw(ledger, collection, None, folder=folder)


def test_the_pass_over_t_gives_the_same_sums(parts, tmp_path):
    here, there = (
        sums_on(device, parts, tmp_path / name)[1][0].blocks
        for device, name in (("cpu", "here"), (DEVICE, "there"))
    )
    for name, block in here.items():
        scale = block.abs().max()
        torch.testing.assert_close(there[name] / scale, block / scale, atol=5e-3, rtol=0)


@pytest.mark.parametrize("loss", [Generalization(FeatureMean()), ATTACKED], ids=["dm", "attacked"])
@pytest.mark.parametrize("pool", [None, PoolSettings(size=2, age=4)], ids=["random", "pool"])
def test_condensation_ends_at_the_same_losses(parts, loss, pool):
    found = []
    for device in ("cpu", DEVICE):
        ledger = parts()
        found += condense(
            [Task(weights=(1.0,), seed=1)],
            evidence=Samples(ledger, bank=bank_on(device, ledger), batch=64),
            losses=[loss],
            settings=CondenseSettings(images_per_class=2, steps=10, pool=pool),
        )
    assert found[1].losses[0] == pytest.approx(found[0].losses[0], rel=0.05)
    assert (found[1].synthetic.x - found[0].synthetic.x).abs().mean() < 0.02


def test_curves_are_condensed_from_sums_on_the_device(parts, tmp_path):
    evidence = Moments([sums_on(DEVICE, parts, tmp_path / "sums")])
    losses = {"mean": Generalization(FeatureMean()), "ridge": Generalization(RidgeRisk())}
    settings = CondenseSettings(images_per_class=2, steps=5)
    (curve,) = condense_curves([Start()], evidence=evidence, losses=losses, settings=settings)
    assert curve.x.device.type == "cpu"
    assert curve.x.isfinite().all()


def test_scores_are_those_of_a_cpu_up_to_records_on_a_border(parts, digits):
    ledger = parts()
    x, y = reference_records(ledger, "train")
    synthetic = select("random", x, y, ledger.info("train"), per_class=3, seed=0)
    training = Fast(network="convnet2-w16", epochs=20).resolve(digits.info, THREAT)
    measures = {
        "error": Right(training=training),
        "robust_error": RightUnderAttack(training=training, suite=SUITE, threat=THREAT),
    }
    here, there = (
        count_outcomes(
            Trained(synthetic, seeds=(1, 2, 3), device=device),
            measures=measures,
            held_out=HeldOut(parts(), "test"),
        )._sums
        for device in ("cpu", DEVICE)
    )
    assert here.sum() > 0
    assert (here - there).abs().max() <= 6  # of 100 records


def test_a_whole_study_runs_on_the_device(tmp_path):
    tables = {**TINY, "name": "on-a-gpu", "device": DEVICE}
    tables["evaluate"] = {**TINY["evaluate"], "replicates": 2}
    study = run_study(parse_config(tables, where="test"), tmp_path / "study")
    assert len(study.trials) >= 4
    assert study.front
