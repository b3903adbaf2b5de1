"""What condensation sees: moments agree with the records that they were taken from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from privacy.gates import check_start_is_public
from privacy.private_tools import LADDER, ledger_of, moments, small, toy

from moc.data.declared import DataInfo
from moc.data.synthetic import one_hot
from moc.data.vault import RealData, unseal
from moc.errors import PrivacyError, StudyError
from moc.evidence.moments import Moments
from moc.evidence.records import RecordView
from moc.evidence.samples import Samples
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.privacy.collect import Collection
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans

DATA = toy()


def open_ledger() -> Ledger:
    ledger = Ledger(None)
    ledger.own("train", toy())
    return ledger


def exact(tmp_path, statistics=None) -> Moments:
    collection = small(DATA.info, statistics)
    return Moments([(collection, draw(open_ledger(), collection, None, folder=tmp_path / "r"))])


def test_exact_moments_ask_and_answer_like_the_records_themselves(tmp_path):
    sums, records = exact(tmp_path), unseal(DATA)
    for k in range(2):
        found, member = sums.view(k, [0]), sums.bank.member(k)
        labels = one_hot(records.y, 2)
        seen = RecordView(member, records.x[None], labels, rungs=(0,), seed=0)
        heads = torch.randn(1, 5, 2, generator=torch.Generator().manual_seed(k))
        assert torch.allclose(found.class_sums(), seen.class_sums(), atol=1e-5)
        assert torch.allclose(found.compact_sums(), seen.compact_sums(), atol=1e-5)
        assert torch.allclose(found.quadratic(heads), seen.quadratic(heads), atol=1e-5)
        assert torch.allclose(found.squared_risk(heads), seen.squared_risk(heads), atol=1e-5)
        means = found.statistic(ClassMeans())
        assert torch.allclose(means, seen.statistic(ClassMeans()), atol=1e-5)


@pytest.mark.parametrize("sharpness", [1.0, 0.4])
def test_squared_risk_is_the_mean_of_squared_errors(sharpness):
    records = unseal(DATA)
    member = small(DATA.info).bank.member(0)
    features, labels = member(records.x), one_hot(records.y, 2)
    labels = sharpness * labels + (1 - sharpness) * labels.flip(1).roll(1, 0)
    heads = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([(features @ w - (labels - 0.5)).square().sum(1).mean() for w in heads])
    seen = RecordView(member, records.x[None], labels, rungs=(0,), seed=0)
    assert torch.allclose(seen.squared_risk(heads), expected, atol=1e-5)


def test_every_set_reads_its_own_rung(tmp_path):
    collection = small(DATA.info)
    drawn = draw(ledger_of(toy()), collection, LADDER, folder=tmp_path / "r")
    sums = Moments([(collection, drawn)])
    assert [rung.epsilon for rung in sums.rungs] == pytest.approx(list(LADDER.epsilons), rel=1e-3)
    together = sums.view(1, [2, 0, 0]).class_sums()
    for b, rung in enumerate((2, 0, 0)):
        assert torch.equal(together[b], sums.view(1, [rung]).class_sums()[0])
    assert not torch.equal(together[0], together[1])
    assert torch.equal(sums.view(3, [1]).class_sums(), sums.view(1, [1]).class_sums())


def test_noisy_second_moments_are_made_positive(tmp_path, monkeypatch):
    generator = np.random.default_rng(3)  # of a test: noise has no seed elsewhere
    monkeypatch.setattr("moc.privacy.noise._generator", lambda: generator)
    collection = small(DATA.info)
    drawn = draw(ledger_of(toy()), collection, LADDER, folder=tmp_path / "r")
    heads = torch.randn(200, 5, 2, generator=torch.Generator().manual_seed(0))
    sums = Moments([(collection, drawn)])
    assert sums.view(0, [2] * 200).quadratic(heads).min() >= -1e-3
    raw = sums.view(0, [2]).statistic(collection.statistics[1])
    assert raw.abs().max() > 1  # noise alone, which no record could give


def test_what_was_not_released_cannot_be_asked_for(tmp_path):
    sums = exact(tmp_path, (ClassMeans(),))
    view = sums.view(0, [0])
    with pytest.raises(StudyError, match="second-moments are needed"):
        view.quadratic(torch.zeros(1, 5, 2))
    with pytest.raises(StudyError, match="holds only sums"):
        view.batch()
    with pytest.raises(StudyError, match="holds only sums"):
        view.of(torch.zeros(1, 4, 6), torch.zeros(4, 2))
    with pytest.raises(StudyError, match="pool"):
        sums.view(0, [0], member=sums.bank.member(0))
    with pytest.raises(StudyError, match="proxy"):
        sums.source(0)


class TestRounds:
    """A release in two rounds, with networks, statistics and noise of their own."""

    LADDER = Ladder(epsilons=(8.0, 1.0))

    @pytest.fixture
    def rounds(self, tmp_path):
        ledger, found = ledger_of(toy()), []
        for i, (share, kinds) in enumerate([(0.75, ("means",)), (0.25, ("means", "counts"))]):
            statistics = moments(counts=0.04 if "counts" in kinds else 0.0)
            collection = replace(small(DATA.info, statistics), networks=2 + i)
            collection = replace(collection, bank=replace(collection.bank, seed=i))
            ladder = self.LADDER.part(share)
            drawn = draw(ledger, collection, ladder, folder=tmp_path / str(i), key=f"release/{i}")
            found.append((collection, drawn))
        return found

    def test_the_networks_of_all_rounds_take_turns(self, rounds):
        sums, networks = Moments(rounds), [(c, k) for c, _ in rounds for k in range(c.networks)]
        assert len(networks) == 5
        for step in range(10):
            collection, k = networks[step % 5]
            view = sums.view(step, [0, 1])
            assert view.member is collection.bank.member(k)

    def test_each_round_shows_each_set_its_own_rung(self, rounds):
        sums = Moments(rounds)
        for step, (place, k) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]):
            collection, drawn = rounds[place]
            view = sums.view(step, [1, 0])
            for b, rung in enumerate((1, 0)):
                block = drawn[rung].blocks["class-means"]
                expected = collection.average("class-means", block)[k].float()
                assert torch.equal(view.class_sums()[b], expected)

    def test_shares_are_those_of_the_round_that_counts(self, rounds):
        sums, alone = Moments(rounds), Moments(rounds[1:])
        for step in range(5):
            shares = sums.view(step, [0, 1]).class_shares()
            assert torch.equal(shares, alone.view(0, [0, 1]).class_shares())

    def test_gives_what_every_round_gives(self, rounds):
        assert Moments(rounds).gives == {"class-means"}
        assert Moments(rounds[1:]).gives == {"class-means", "class-counts"}

    def test_all_rounds_together_cost_the_ladder(self, rounds):
        costs = [rung.epsilon for rung in Moments(rounds).rungs]
        assert costs == pytest.approx(list(self.LADDER.epsilons), rel=1e-3)
        assert [rung.epsilon for rung in Moments(rounds[1:]).rungs] == costs
        precision = [sum(d[i].noise ** -2 for _, d in rounds) for i in range(2)]
        assert precision == pytest.approx([m**-2 for m in self.LADDER.multipliers])


def test_a_release_of_uneven_classes_tells_their_shares(tmp_path):
    """Drawn, stored and read back: within five standard deviations of its own noise."""
    info = DataInfo(name="toy", shape=(6,), classes=("a", "b"), count=2000)
    y = (torch.arange(2000) < 200).long()
    x = torch.rand(2000, 6, generator=torch.Generator().manual_seed(0))
    bank = Bank(info=info, networks=(parse_network("mlp1-w5"),), seed=0)
    statistics = (ClassMeans(), ClassCounts(weight=0.04))
    collection = Collection(bank=bank, networks=1, statistics=statistics, batch=64)
    ladder = Ladder(epsilons=(8.0, 4.0))
    ledger = ledger_of(RealData(info=info, x=x, y=y))
    sums = Moments([(collection, draw(ledger, collection, ladder, folder=tmp_path / "r"))])
    found = sums.view(0, [0, 1]).class_shares()
    for shares, noise in zip(found, ladder.multipliers, strict=True):
        five = 5 * noise / (2000 * math.sqrt(0.04))
        assert shares[1].item() == pytest.approx(0.1, abs=five)
        assert abs(shares[1].item() - 0.5) > five


def test_condensation_of_a_release_starts_from_public_noise(tmp_path):
    check_start_is_public(tmp_path)


def test_samples_are_for_open_studies():
    with pytest.raises(PrivacyError, match="without noise"):
        Samples(ledger_of(toy()), bank=small(DATA.info).bank)
