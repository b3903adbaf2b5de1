"""What condensation sees: moments agree with the records they were taken from."""

from __future__ import annotations

import pytest
import torch
from evidence_checks import check_start_is_public
from evidence_tools import LADDER, ledger_of, small, toy

from moc.attacks import Attack, Threat
from moc.data.vault import unseal
from moc.data.synthetic import one_hot
from moc.errors import DataError, PrivacyError, StudyError
from moc.evidence import AttackedBatch, Ledger, Moments, Samples, Statistics, draw
from moc.evidence.views import FeatureTarget

DATA = toy()


def open_ledger() -> Ledger:
    ledger = Ledger(None)
    ledger.own("train", DATA)
    return ledger


def exact(tmp_path, statistics=None, **options) -> Moments:
    statistics = statistics or small(DATA.info)
    clean = draw(open_ledger(), statistics, None, folder=tmp_path / "clean")
    return Moments(statistics, clean, **options)


def samples(**options) -> Samples:
    attacked = AttackedBatch(
        attack=Attack(name="pgd-margin", steps=2), threat=Threat(eps=0.1), batch=4
    )
    statistics = small(DATA.info)
    return Samples(open_ledger(), bank=statistics.bank, attacked=attacked, **options)


def test_exact_moments_ask_and_answer_like_the_records_themselves(tmp_path):
    moments = exact(tmp_path)
    records = unseal(DATA)
    for k in range(2):
        view = moments.view(k, [0])
        member = moments.bank.member(k)
        features = FeatureTarget(
            member=member, features=member(records.x)[None], labels=one_hot(records.y, 2)
        )
        heads = torch.randn(1, 5, 2, generator=torch.Generator().manual_seed(k))
        target = view.clean()
        assert torch.allclose(target.class_sums(), features.class_sums(), atol=1e-5)
        assert torch.allclose(target.compact_sums(), features.compact_sums(), atol=1e-5)
        assert torch.allclose(target.quadratic(heads), features.quadratic(heads), atol=1e-5)
        assert torch.allclose(target.squared_risk(heads), features.squared_risk(heads), atol=1e-5)


@pytest.mark.parametrize("sharpness", [1.0, 0.4])
def test_squared_risk_is_the_mean_of_squared_errors(sharpness):
    records = unseal(DATA)
    member = small(DATA.info).bank.member(0)
    features, labels = member(records.x), one_hot(records.y, 2)
    labels = sharpness * labels + (1 - sharpness) * labels.flip(1).roll(1, 0)
    heads = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([(features @ w - (labels - 0.5)).square().sum(1).mean() for w in heads])
    target = FeatureTarget(member=member, features=features[None], labels=labels)
    assert torch.allclose(target.squared_risk(heads), expected, atol=1e-5)


def test_every_set_reads_its_own_rung(tmp_path):
    statistics = small(DATA.info)
    rungs = draw(ledger_of(DATA), statistics, LADDER, folder=tmp_path / "r")
    moments = Moments(statistics, rungs)
    assert moments.epsilons == LADDER.epsilons
    together = moments.view(1, [2, 0, 0]).clean().class_sums()
    for b, rung in enumerate((2, 0, 0)):
        alone = moments.view(1, [rung]).clean().class_sums()
        assert torch.equal(together[b], alone[0])
    assert not torch.equal(together[0], together[1])
    assert torch.equal(
        moments.view(3, [1]).clean().class_sums(), moments.view(1, [1]).clean().class_sums()
    )


def test_noisy_second_moments_are_made_positive(tmp_path):
    statistics = small(DATA.info)
    rungs = draw(ledger_of(DATA), statistics, LADDER, folder=tmp_path / "r")
    raw = statistics.normalise(rungs[2].first, rungs[2].second)[1]
    assert torch.linalg.eigvalsh(raw).min() < 0
    heads = torch.randn(200, 5, 2, generator=torch.Generator().manual_seed(0))
    view = Moments(statistics, rungs).view(0, [2] * 200)
    assert view.clean().quadratic(heads).min() >= -1e-3


def test_what_was_not_released_cannot_be_asked_for(tmp_path):
    statistics = Statistics(bank=small(DATA.info).bank, networks=1)
    view = exact(tmp_path, statistics).view(0, [0])
    with pytest.raises(StudyError, match="needs second moments"):
        view.clean().quadratic(torch.zeros(1, 5, 2))
    with pytest.raises(ValueError, match="no moments of attacked records"):
        view.attacked(torch.zeros(1, 5, 2))


def test_condensation_of_a_release_starts_from_public_noise(tmp_path):
    check_start_is_public(tmp_path)


def test_samples_are_for_open_studies():
    bank = small(DATA.info).bank
    attacked = AttackedBatch(attack=Attack(name="fgsm", steps=1), threat=Threat(eps=0.1), batch=4)
    with pytest.raises(PrivacyError, match="without noise"):
        Samples(ledger_of(DATA), bank=bank, attacked=attacked)


def test_a_batch_is_records_of_t_and_the_same_for_the_same_step():
    evidence = samples(batch=7)
    x, labels = evidence.batch(3, 7)
    records = unseal(DATA)
    for one, label in zip(x, labels, strict=True):
        (place,) = torch.nonzero((records.x == one).all(1)).flatten().tolist()
        assert label.argmax() == records.y[place]
    assert torch.equal(evidence.batch(3, 7)[0], x)
    assert not torch.equal(evidence.batch(4, 7)[0], x)
    assert evidence.epsilons == ()
    assert evidence.view(0, [0]).clean().class_sums().shape == (1, 2, 5)


def test_the_attack_on_a_batch_raises_the_loss_of_every_set():
    view = samples(batch=8).view(0, [0, 0])
    heads = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0))
    clean, attacked = view.clean(), view.attacked(heads)
    assert attacked.features.shape == (2, 4, 5)

    def margin(features):
        logits = features[:, :4] @ heads
        right = (logits * view.labels[:4]).sum(2)
        return (right - (logits * (1 - view.labels[:4])).sum(2)).mean(1)

    assert (margin(attacked.features) < margin(clean.features)).all()


def test_an_open_study_may_start_from_records():
    evidence = samples()
    y = torch.tensor([0, 1, 1, 0])
    start = evidence.start(y, seed=2, rung=0)
    records = unseal(DATA)
    for one, label in zip(start, y, strict=True):
        (place,) = torch.nonzero((records.x == one).all(1)).flatten().tolist()
        assert records.y[place] == label
    assert len(start.unique(dim=0)) == 4
    assert torch.equal(evidence.start(y, seed=2, rung=0), start)
    with pytest.raises(DataError, match="has 6 records; 7 are needed"):
        evidence.start(torch.zeros(7, dtype=torch.int64), seed=0, rung=0)
