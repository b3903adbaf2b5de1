"""What every objective promises, and its numbers against straight ones."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.attacks.threat import Threat
from moc.data.declared import DataInfo
from moc.data.decoder import Decoder
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.errors import PolicyError, StudyError
from moc.evaluate.protocols.base import ADVERSARIAL
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.scores import Estimate
from moc.evaluate.suites import PrivateSuite
from moc.networks.architectures import parse_network
from moc.networks.network import build
from moc.objectives.base import (
    OBJECTIVES,
    Facts,
    FrameContext,
    MeasureContext,
    frame_of,
    read_objectives,
)
from moc.privacy.held_out import Rates

INFO = DataInfo(name="toy", shape=(4,), classes=("a", "b", "c"), count=90)
THREAT = Threat(eps=0.1)
CONTEXT = MeasureContext(
    info=INFO,
    training=Fast(network="mlp1-w4", epochs=1).resolve(INFO, THREAT),
    suite=PrivateSuite(),
    threat=THREAT,
    seen=(parse_network("mlp1-w4"),),
)


def measure_of(kind, **settings):
    return OBJECTIVES.make({"kind": kind, **settings}).measure(CONTEXT)


def records(n=40):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 4, generator=generator), torch.arange(n) % 3


def rates(values, *, noise=0.0):
    return Rates(values=values.double().mean(0), noise=noise, records=len(values))


def network(seed=0):
    return build(parse_network("mlp1-w4"), INFO, seed=seed)


@pytest.fixture(params=list(OBJECTIVES.parts))
def objective(request):
    return OBJECTIVES.make(request.param)


def test_all_eight_are_there():
    assert list(OBJECTIVES.parts) == [
        "calibration_error",
        "epsilon",
        "error",
        "hardened_error",
        "robust_error",
        "stored_bytes",
        "transfer_error",
        "worst_class_error",
    ]


def test_it_is_measured_or_known_exactly_and_has_words_and_a_frame(objective):
    assert (objective.measure(CONTEXT) is None) == objective.exact
    context = FrameContext(info=INFO, epsilons=(8.0, 2.0), largest_set=10**4)
    ideal, nadir = frame_of({"x": objective}, context)["x"]
    assert math.isfinite(ideal)
    assert ideal < nadir
    assert objective.words == objective.words.strip().lower()
    assert objective.heading.startswith(objective.words)


def test_outcomes_keep_to_their_bound_and_each_record_to_itself(objective):
    if objective.exact:
        return
    measure, (x, y) = objective.measure(CONTEXT), records(250)
    found = measure.outcomes(network(), x, y, seed=1).float()
    assert found.shape == (250, measure.columns)
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert found.norm(dim=1).max() <= measure.bound + 1e-6
    alone = measure.outcomes(network(), x[100:101], y[100:101], seed=1).float()
    assert torch.allclose(alone[0], found[100], atol=1e-5)


def test_a_diverged_network_is_as_bad_as_can_be(objective):
    if objective.exact:
        return
    measure, (_, y) = objective.measure(CONTEXT), records(30)
    estimate = measure.estimate(rates(measure.diverged(y).float()[:, None]))
    assert estimate.mean == pytest.approx(1.0)


def test_estimates_from_several_networks_have_errors_that_shrink(objective):
    if objective.exact:
        return
    measure = objective.measure(CONTEXT)
    widths = []
    for n in (50, 2000):
        x, y = records(n)
        both = [measure.outcomes(network(s), x, y, seed=s).float() for s in (0, 0)]
        widths.append(measure.estimate(rates(torch.stack(both, dim=1))).se)
    assert 0 < widths[1] < widths[0]


def test_errors_are_what_the_network_gets_wrong():
    x, y = records()
    net = network()
    wrong = (net(x).argmax(1) != y).float().mean()
    for kind in ("error", "transfer_error"):
        settings = {"network": "mlp1-w8"} if kind == "transfer_error" else {}
        outcomes = measure_of(kind, **settings).outcomes(net, x, y, seed=0).float()
        estimate = measure_of(kind, **settings).estimate(rates(outcomes[:, None]))
        assert estimate.mean == pytest.approx(float(wrong))


def test_the_worst_class_is_the_worst():
    x, y = records()
    net, measure = network(), measure_of("worst_class_error")
    right = net(x).argmax(1) == y
    expected = max(1 - float(right[y == k].float().mean()) for k in range(3))
    outcomes = measure.outcomes(net, x, y, seed=0).float()
    assert measure.estimate(rates(outcomes[:, None])).mean == pytest.approx(expected)


def test_a_class_without_records_is_not_the_worst():
    x, y = records()
    y = y.clamp_max(1)
    net, measure = network(), measure_of("worst_class_error")
    right = net(x).argmax(1) == y
    expected = max(1 - float(right[y == k].float().mean()) for k in range(2))
    outcomes = measure.outcomes(net, x, y, seed=0).float()
    assert measure.estimate(rates(outcomes[:, None])).mean == pytest.approx(expected)


@given(bins=st.integers(1, 20), seed=st.integers(0, 5))
def test_the_calibration_error_is_that_of_a_loop_over_bins(bins, seed):
    x, y = records(200)
    net = network(seed)
    sure, said = net(x).softmax(1).max(1)
    sure, right = sure.detach().double().numpy(), (said == y).double().numpy()
    edges = np.linspace(0, 1, bins + 1)
    expected = 0.0
    for low, high in pairwise(edges):
        inside = (sure > low) & (sure <= high)
        expected += abs((sure[inside] - right[inside]).sum()) / len(sure)
    measure = measure_of("calibration_error", bins=bins)
    outcomes = measure.outcomes(net, x, y, seed=0).float()
    assert measure.estimate(rates(outcomes[:, None])).mean == pytest.approx(expected, abs=1e-6)


def test_transfer_is_to_an_architecture_that_was_not_seen():
    assert measure_of("transfer_error").training.network.name == "mlp2-w256"
    with pytest.raises(StudyError, match=r"never saw.*mlp1-w4"):
        measure_of("transfer_error", network="mlp1-w4")


def test_hardened_is_robust_error_of_another_training_alone():
    robust, hardened = measure_of("robust_error"), measure_of("hardened_error")
    assert robust.training.attack is None
    assert hardened.training.attack == ADVERSARIAL
    assert hardened.training.threat == robust.threat
    changed = {"attack": None, "threat": robust.training.threat}
    assert replace(hardened, training=hardened.training.model_copy(update=changed)) == robust


@pytest.mark.parametrize(("labels", "size"), [("hard", 6 * 4 * 4 + 6), ("soft", 6 * 4 * 7)])
def test_bytes_are_those_of_records_and_labels(labels, size):
    rows = one_hot(balanced_labels(2, 3), 3)
    rows = rows if labels == "hard" else torch.full_like(rows, 1 / 3)
    made = SyntheticSet(info=INFO, x=torch.rand(6, 4), labels=rows, decoder=Decoder(noise_copies=3))
    stored = OBJECTIVES.make("stored_bytes")
    assert stored.value(Facts(synthetic=made, epsilon=4.0)) == size
    assert OBJECTIVES.make("epsilon").value(Facts(synthetic=made, epsilon=4.0)) == 4.0


def test_the_privacy_budget_is_a_loss_of_its_own_by_rung():
    from types import SimpleNamespace

    rungs = [SimpleNamespace(epsilon=8.0), SimpleNamespace(epsilon=2.0)]
    context = SimpleNamespace(evidence=SimpleNamespace(rungs=rungs))
    loss = OBJECTIVES.make("epsilon").loss(context)
    view = SimpleNamespace(rungs=(1, 0, 1))
    assert loss(None, view).tolist() == [2.0, 8.0, 2.0]


def test_scales_and_units():
    epsilon, stored, error = map(OBJECTIVES.make, ("epsilon", "stored_bytes", "error"))
    assert epsilon.scaled(8.0) == 3.0
    assert error.scaled(0.25) == 0.25
    assert error.shown.estimate(Estimate(mean=0.1234, se=0.0056)) == "12.3 ± 0.6"
    assert epsilon.shown.estimate(Estimate(mean=math.inf)) == "open"
    assert stored.shown.with_unit(7680.0) == "7.68 kB"
    assert error.shown.estimate(None) == "-"
    with pytest.raises(PolicyError, match="Thirty percent"):
        error.shown.check_limit("clean error", 30)
    with pytest.raises(PolicyError, match="positive"):
        epsilon.shown.check_limit("epsilon", 0.0)


def test_entries_of_a_study_file_are_of_the_kind_of_their_name():
    found = read_objectives({"error": {}, "other": {"kind": "transfer_error", "network": "linear"}})
    assert [one.kind for one in found.values()] == ["error", "transfer_error"]
    with pytest.raises(StudyError, match="'worst_class_error'"):
        read_objectives({"beauty": {}})
