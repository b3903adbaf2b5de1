"""Condensation: batches equal single runs, losses fall, and private starts read no record."""

import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from moc.attacks.gradient import PgdMargin
from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, Normalisation, PoolSettings, Task, condense, make_proxies
from moc.data.declared import DataInfo
from moc.data.decoder import Decoder
from moc.data.synthetic import balanced_labels, one_hot
from moc.data.vault import RealData
from moc.discrepancies.adversarial import Adversarial
from moc.discrepancies.base import Generalization
from moc.discrepancies.curvature import CurvatureRisk
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.ridge import RidgeRisk
from moc.errors import StudyError
from moc.evidence.moments import Moments
from moc.evidence.samples import Samples
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank, encode
from moc.privacy.access import Budget
from moc.privacy.collect import Collection
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_means import ClassMeans

NETWORKS = (parse_network("convnet2-w8"),)
NORMALISATION = Normalisation(ideal=(0.0, 0.0), nadir=(1.0, 1.0))
ERROR = (Generalization(FeatureMean()),)
ALONE = Task(weights=(1.0,))


def shared(r, **options):
    """Weights of a robust share r."""
    return Task(weights=(1 - r, r), **options)


def small(digits, n=300) -> RealData:
    return digits.split([n], seed=0)[0]


@pytest.fixture
def samples(digits):
    ledger = Ledger(None)
    info = ledger.own("train", small(digits))
    return Samples(ledger, bank=Bank(info=info, networks=NETWORKS, seed=1), batch=32)


def collection_of(info):
    bank = Bank(info=info, networks=NETWORKS, seed=1)
    return Collection(bank=bank, networks=4, statistics=(ClassMeans(),))


@pytest.fixture
def moments(digits, tmp_path):
    ledger = Ledger(Budget(epsilon=8.0))
    collection = collection_of(ledger.own("train", small(digits)))
    ladder = Ladder(epsilons=(8.0, 2.0))
    return Moments([(collection, draw(ledger, collection, ladder, folder=tmp_path / "r"))])


def losses(discrepancy):
    attack = PgdMargin(steps=2)
    threat = Threat(eps=0.1)
    return (
        Generalization(discrepancy),
        Adversarial(discrepancy, attack=attack, threat=threat, records=8),
    )


def test_losses_fall(samples):
    settings = CondenseSettings(images_per_class=2, steps=1, lr=1e-6)
    before = condense(
        [shared(0.0)], evidence=samples, losses=losses(RidgeRisk()), settings=settings
    )
    after = condense(
        [shared(0.0), shared(1.0)],
        evidence=samples,
        losses=losses(RidgeRisk()),
        settings=settings.model_copy(update={"steps": 60, "lr": 0.03}),
    )
    assert after[0].losses[0] < 0.9 * before[0].losses[0]
    assert after[1].losses[1] < 0.9 * before[0].losses[1]
    assert after[0].losses[0] < after[1].losses[0]
    assert after[1].losses[1] < after[0].losses[1]


def test_sets_made_in_bfloat16_are_as_good(samples):
    plain = CondenseSettings(images_per_class=2, steps=40, lr=0.03)
    fast = plain.model_copy(update={"compute": "bfloat16"})
    run = {"evidence": samples, "losses": losses(RidgeRisk())}
    task = shared(0.4, normalisation=NORMALISATION)
    (a,), (b,) = (condense([task], settings=one, **run) for one in (plain, fast))
    assert not torch.equal(a.synthetic.x, b.synthetic.x)
    assert b.losses == pytest.approx(a.losses, rel=0.02)


class OneView(Samples):
    """The same batch under the same network in every step."""

    def view(self, step, rungs, *, member=None):
        del step
        return super().view(0, rungs, member=member)


def test_fixed_images_stay_real_and_their_labels_are_solved(digits):
    """Label-Solve: no worse than one-hot on what it was fitted on, and near the least risk."""
    ledger, loss = Ledger(None), Generalization(RidgeRisk(ridge=0.05))
    info = ledger.own("train", small(digits))
    one = OneView(ledger, bank=Bank(info=info, networks=NETWORKS, seed=1), batch=256)
    settings = CondenseSettings(images_per_class=2, images="fixed", steps=400, lr=0.2)
    made = condense([ALONE], evidence=one, losses=(loss,), settings=settings)[0].synthetic
    y = balanced_labels(2, 10)
    assert torch.equal(made.x, one.start(y, seed=0, rung=0))
    view = one.view(0, [0])

    def risk(labels):
        return loss(encode(made.x[None], labels[None], view.member), view).item()

    # The least risk of any labels, distributions or not, bounds it from below.
    psi, labels = view.embedded()
    features = view.member(made.x)
    kernel = features @ features.T + 0.05 * torch.eye(len(y))
    design = psi[0] @ features.T @ torch.linalg.inv(kernel)
    free = torch.linalg.lstsq(design, labels.reshape(-1, 10) - 0.1).solution + 0.1
    least, hard = risk(free), risk(one_hot(y, 10))
    assert least < risk(made.labels) < hard
    assert risk(made.labels) - least < 0.5 * (hard - least)


@pytest.mark.parametrize("pool", [None, PoolSettings(size=2)], ids=["random", "pool"])
@pytest.mark.parametrize("labels", ["hard", "learned"])
def test_sets_together_come_out_as_alone(samples, labels, pool):
    settings = CondenseSettings(images_per_class=2, steps=6, lr=0.02, labels=labels, pool=pool)
    tasks = [
        shared(r, seed=s, normalisation=NORMALISATION) for r, s in ((0.0, 1), (0.3, 1), (0.9, 2))
    ]
    run = {"evidence": samples, "losses": losses(RidgeRisk()), "settings": settings}
    together = condense(tasks, **run)
    for task, one in zip(tasks, together, strict=True):
        alone = condense([task], **run)[0]
        torch.testing.assert_close(one.synthetic.x, alone.synthetic.x, atol=2e-3, rtol=0)
        torch.testing.assert_close(one.synthetic.labels, alone.synthetic.labels, atol=2e-3, rtol=0)


@profile(max_examples=5, deadline=None)
@given(weights=st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4).filter(lambda w: sum(w) > 0.1))
def test_any_number_of_losses_is_joined(weights):
    """Four of them, on sums of random records."""
    info = DataInfo(name="toy", shape=(6,), classes=("a", "b"), count=40)
    ledger = Ledger(None)
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(0))
    ledger.own("train", RealData(info=info, x=x, y=torch.arange(40) % 2))
    bank = Bank(info=info, networks=(parse_network("mlp1-w5"),), seed=1)
    evidence = Samples(ledger, bank=bank, batch=16)
    parts = [Generalization(one) for one in (FeatureMean(), RidgeRisk(), RidgeRisk(ridge=2.0))]
    bent = CurvatureRisk(RidgeRisk(), threat=Threat(eps=0.1), records=4)
    total = sum(weights)
    frame = Normalisation(ideal=(0.0,) * 4, nadir=(1.0,) * 4)
    task = Task(weights=tuple(w / total for w in weights), normalisation=frame)
    settings = CondenseSettings(images_per_class=2, steps=2)
    one = condense([task], evidence=evidence, losses=[*parts, bent], settings=settings)[0]
    assert len(one.losses) == 4
    assert torch.isfinite(one.synthetic.x).all()


def test_sets_read_their_own_rung_only(moments):
    run = {
        "evidence": moments,
        "losses": ERROR,
        "settings": CondenseSettings(images_per_class=2, steps=5),
    }
    first, second = condense([Task(weights=(1.0,), rung=r) for r in (0, 1)], **run)
    ((_, averages),) = moments._rounds
    averages[1].by_name["class-means"] *= 3
    again, changed = condense([Task(weights=(1.0,), rung=r) for r in (0, 1)], **run)
    assert torch.equal(first.synthetic.x, again.synthetic.x)
    assert not torch.equal(second.synthetic.x, changed.synthetic.x)


def test_a_private_start_does_not_depend_on_the_records(moments, tmp_path):
    ledger = Ledger(Budget(epsilon=8.0))
    info = moments.info
    other = RealData(info=info, x=torch.ones(300, 1, 8, 8), y=torch.zeros(300))
    collection = collection_of(ledger.own("train", other))
    drawn = draw(ledger, collection, Ladder(epsilons=(8.0,)), folder=tmp_path / "other")
    y = torch.arange(10)
    start = Moments([(collection, drawn)]).start(y, seed=3, rung=0)
    assert torch.equal(moments.start(y, seed=3, rung=0), start)


def test_proxies_are_larger_sets_one_a_rung(moments):
    seen = []
    made = make_proxies(
        moments,
        images_per_class=4,
        steps=3,
        lr=0.05,
        seed=5,
        progress=lambda *one: seen.append(one),
    )
    assert [len(one) for one in made] == [40, 40]
    assert torch.equal(made[0].labels, made[1].labels)
    assert not torch.equal(made[0].x, made[1].x)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_decoded_set_keeps_its_stored_size(samples):
    settings = CondenseSettings(images_per_class=2, steps=2, decoder=Decoder(multi_formation=2))
    run = {"evidence": samples, "losses": ERROR}
    one = condense([ALONE], settings=settings, **run)[0].synthetic
    records, labels = one.training_records()
    assert (len(one), len(records), len(labels)) == (20, 80, 80)


def test_a_set_is_condensed_without_its_copies_and_decoded_with_them(samples):
    run = {"evidence": samples, "losses": ERROR}
    plain, copied = (
        condense(
            [ALONE],
            settings=CondenseSettings(
                images_per_class=2, steps=2, decoder=Decoder(noise_copies=copies)
            ),
            **run,
        )[0]
        for copies in (1, 3)
    )
    assert torch.equal(copied.synthetic.x, plain.synthetic.x)
    assert copied.losses == plain.losses
    assert len(copied.synthetic.training_records()[0]) == 60


def test_progress_is_told_after_every_step(samples):
    seen = []
    condense(
        [ALONE],
        evidence=samples,
        losses=ERROR,
        settings=CondenseSettings(images_per_class=1, steps=3),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(k, 3) for k in (1, 2, 3)]


def test_a_pool_changes_what_a_set_is_fitted_to(samples):
    run = {"evidence": samples, "losses": losses(RidgeRisk())}
    plain, pooled = (
        condense(
            [shared(0.0)],
            settings=CondenseSettings(images_per_class=2, steps=4, lr=0.02, pool=pool),
            **run,
        )[0]
        for pool in (None, PoolSettings(size=2))
    )
    assert not torch.equal(plain.synthetic.x, pooled.synthetic.x)


def test_a_release_has_no_pool(moments):
    settings = CondenseSettings(images_per_class=2, steps=1, pool=PoolSettings(size=1))
    with pytest.raises(StudyError, match="needs records"):
        condense([ALONE], evidence=moments, losses=ERROR, settings=settings)


ALIVE = weakref.WeakSet()


class Kept(torch.autograd.Function):
    """The identity; an object lives as long as the graph that it is in."""

    @staticmethod
    def forward(ctx, x):
        ctx.kept = Link()
        ALIVE.add(ctx.kept)
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient


class Link:
    """Something that weak references can see."""


class Watched(Generalization):
    """Notes how many graphs of losses are alive whenever another one is made."""

    def __init__(self):
        super().__init__(FeatureMean())
        self.graphs = []

    def forward(self, encoded, view):
        self.graphs.append(len(ALIVE))
        return Kept.apply(super().forward(encoded, view))


def test_one_graph_at_a_time_is_held(samples):
    watched = Watched()
    run = {"evidence": samples, "losses": (watched,)}
    condense([ALONE], settings=CondenseSettings(images_per_class=2, steps=8), **run)
    assert len(watched.graphs) > 10
    assert max(watched.graphs) <= 1
