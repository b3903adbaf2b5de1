"""What runs on a device stays there: shown on the `meta` device, which computes nothing.

Tensors of a step may be drawn on the CPU, so that a seed gives the same networks and batches
everywhere, and moved. Nothing else is computed there, and no value is asked of the device: each
question would make the CPU wait for all that was queued.
"""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from moc.attacks.gradient import PgdMargin
from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, Start, Task, condense, condense_curves
from moc.data import DataInfo, RealData
from moc.data.augment import Augmentation
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.discrepancies.adversarial import Adversarial
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.ridge import RidgeRisk
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import correct
from moc.evidence.base import noise_start
from moc.evidence.moments import Moments
from moc.evidence.proxy import Proxies, Proxy
from moc.evidence.samples import Samples
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.networks.network import build
from moc.networks.stack import Stack, fit_stack
from moc.networks.train import fit
from moc.privacy.collect import Collection
from moc.privacy.ledger import Ledger
from moc.privacy.release import Released
from moc.statistics.class_means import ClassMeans
from moc.statistics.second_moments import SecondMoments

SMALL = 512  # elements; what is smaller, such as draws of augmentation, may be made anywhere
DRAWN = {"empty", "rand", "randint", "randperm", "uniform_", "normal_", "zeros", "ones", "fill_"}
MOVED = {"_to_copy", "copy_", "set_", "clone", "detach", "view", "expand", "slice", "cat", "stack"}
ASKING = {"_local_scalar_dense", "item", "is_nonzero"}
THREAT = Threat(eps=0.1)
CLASSES = tuple("abc")
INFO = DataInfo(name="toy", shape=(1, 12, 12), classes=CLASSES, count=300, mirrored=True)
NETWORK = parse_network("convnet2-w8")


class Watch(TorchDispatchMode):
    """Notes what is computed on the CPU, and what the device is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.computed: list[tuple[str, tuple[int, ...]]] = []
        self.asked: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ASKING and args[0].device.type == "meta":
            self.asked.append(str(args[0].dtype))
            return args[0].dtype.is_floating_point / 2 if args[0].dtype != torch.bool else True
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            here = isinstance(one, torch.Tensor) and one.device.type == "cpu"
            if here and one.numel() > SMALL and name not in DRAWN | MOVED:
                self.computed.append((name, tuple(one.shape)))
        return found


class Enough(Exception):
    """What comes after the last step is not watched."""


def bank(**options):
    return Bank(info=INFO, networks=(NETWORK,), seed=1, device="meta", **options)


def samples():
    ledger = Ledger(None)
    x = torch.randint(256, (300, 1, 12, 12), dtype=torch.uint8)
    ledger.own("train", RealData(info=INFO, x=x, y=torch.arange(300) % 3))
    return Samples(ledger, bank=bank(augmentation=Augmentation.dsa(True)), batch=64)


def proxies():
    y = balanced_labels(30, 3)
    one = SyntheticSet(info=INFO, x=torch.rand(90, 1, 12, 12), labels=one_hot(y, 3))
    proxy = Proxy(one)
    found = Proxies([proxy], rungs=(), bank=bank(), batch=64)
    proxy.x, proxy.labels, proxy.device = proxy.x.to("meta"), proxy.labels.to("meta"), "meta"
    return found


def moments():
    statistics = (ClassMeans(weight=0.5), SecondMoments())
    collection = Collection(bank=bank(width=16), networks=1, statistics=statistics)
    blocks = {name: block.double() for name, block in collection.zeros().items()}
    return Moments([(collection, [Released(rung=None, blocks=blocks, noise=0.0)])])


def started(evidence):
    """The evidence, whose records to start from, before the first step, are noise."""
    evidence.start = lambda y, *, seed, rung: noise_start(y, INFO.shape, seed=seed + rung)
    return evidence


def after_the_first(work):
    """What a piece of work with progress does in its second step, third, ..."""
    watch = Watch()
    inside = contextlib.ExitStack()

    def progress(done, total):
        if done == 1:
            inside.enter_context(watch)
        if done == 4:
            raise Enough

    with contextlib.suppress(Enough), inside:
        work(progress)
    return watch


ATTACKED = Adversarial(RidgeRisk(), attack=PgdMargin(steps=2), threat=THREAT, records=16)
STEPS = [
    (samples, Generalization(FeatureMean())),
    (samples, ATTACKED),
    (proxies, ATTACKED),
    (moments, Generalization(RidgeRisk())),
]
IDS = ["samples", "attacked", "proxies", "moments"]


@pytest.mark.parametrize(("evidence", "loss"), STEPS, ids=IDS)
@pytest.mark.parametrize("labels", ["hard", "learned"])
def test_a_step_of_condensation_stays_on_the_device(evidence, loss, labels):
    settings = CondenseSettings(images_per_class=2, steps=5, labels=labels)
    how = {"evidence": started(evidence()), "settings": settings}
    tasks = [Task(weights=(1.0,), seed=seed) for seed in (1, 2)]
    watch = after_the_first(
        lambda progress: condense(tasks, losses=[loss], progress=progress, **how)
    )
    assert (watch.asked, watch.computed) == ([], [])


@pytest.mark.parametrize(("evidence", "loss"), STEPS, ids=IDS)
def test_a_step_of_a_curve_stays_on_the_device(evidence, loss):
    settings = CondenseSettings(images_per_class=2, steps=5)
    how = {"evidence": started(evidence()), "settings": settings}
    losses = {"error": Generalization(FeatureMean()), "other": loss}
    watch = after_the_first(
        lambda progress: condense_curves([Start()], losses=losses, progress=progress, **how)
    )
    assert (watch.asked, watch.computed) == ([], [])


def test_the_pass_over_t_asks_the_device_for_nothing():
    collection = Collection(bank=bank(), networks=2, statistics=(ClassMeans(),), batch=64)
    records = torch.rand(300, 1, 12, 12), torch.arange(300) % 3
    padded = torch.cat([records[0][:40], torch.zeros(24, 1, 12, 12)]).to("meta")
    total = collection.zeros().to("meta")
    collection._add(total, padded, records[1][:40].to("meta"))  # the bank is built
    with Watch() as watch:
        collection._add(total, padded, records[1][:40].to("meta"))
    assert (watch.asked, watch.computed) == ([], [])


@pytest.mark.parametrize("augmentation", ["dsa", "none"])
@pytest.mark.parametrize("batch", [6, 256])
def test_training_stays_on_the_device(augmentation, batch, monkeypatch):
    plain = torch.optim.SGD  # the fused one does not know `meta`
    monkeypatch.setattr(torch.optim, "SGD", lambda *a, **b: plain(*a, **b | {"fused": False}))
    overrides = {"network": "convnet2-w8", "epochs": 3, "augmentation": augmentation}
    training = Fast(**overrides, batch=batch).resolve(INFO, THREAT)
    x, labels = torch.rand(2, 12, 1, 12, 12), one_hot(torch.arange(24) % 3, 3).unflatten(0, (2, 12))
    x, labels = x.to("meta"), labels.to("meta")
    with Watch() as watch:
        fit(x[0], labels[0], INFO, training, seed=0, device="meta")
        fit_stack(x, labels, INFO, training, seeds=(0, 1), device="meta")
    assert (watch.asked, watch.computed) == ([], [])


def test_clean_scores_stay_on_the_device():
    networks = [build(NETWORK, INFO, seed=seed).to("meta") for seed in (0, 1)]
    x, y = (
        torch.rand(30, 1, 12, 12, device="meta"),
        torch.zeros(30, dtype=torch.int64, device="meta"),
    )
    with Watch() as watch:
        correct(networks[0], x, y)
        Stack(networks)(x)
    assert (watch.asked, watch.computed) == ([], [])
