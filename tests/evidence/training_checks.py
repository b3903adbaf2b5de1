"""The gates of DP training: what it must pass as it is, and every planted defect must fail.

`test_gradients.py` and `test_dp_training.py` run them on moc as it is, `test_training_mutations.py`
on moc with a defect planted. A check raises AssertionError or PrivacyError.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from evidence_checks import check_standard_normal
from evidence_tools import ledger_of, part, squared_norm

from moc.attacks import Attack, Threat
from moc.data._vault import Records
from moc.data.real import DataInfo, RealData
from moc.errors import PrivacyError
from moc.evidence.dp_training import PrivateTraining, train_privately
from moc.evidence.gradients import ClippedGradients
from moc.evidence.statistics import GRID
from moc.evidence.training_audit import audit_training
from moc.networks import NetworkSpec, build

INFO = DataInfo(name="toy", shape=(1, 8, 8), classes=tuple("abcdefghij"), count=8)
ROUGH = 1e3
"""Noise that costs next to nothing, for trainings that need not learn."""


def images(n: int, *, seed=0) -> Records:
    """Public noise images of ten classes."""
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Records(x=x, y=torch.arange(n) % 10)


def sealed(n: int) -> RealData:
    """The same, sealed."""
    records = images(n)
    info = DataInfo(name="toy", shape=INFO.shape, classes=INFO.classes, count=n)
    return RealData(info=info, x=records.x, y=records.y)


def loud_network(loud=1.0, *, name="convnet2-w8", seed=0):
    """A network whose gradients grow with `loud`."""
    network = build(NetworkSpec.parse(name), INFO, seed=seed)
    network.head.weight.data *= loud
    return network


def training_of(**changes) -> PrivateTraining:
    """A short training."""
    settings = {"noise_multiplier": ROUGH, "steps": 3, "batch": 4, **changes}
    return PrivateTraining(network=NetworkSpec.parse(settings.pop("name", "linear")), **settings)


def check_one_record_moves_at_most_c(
    records: Records, one: Records, *, place=0, loud=1.0, clip=1.0, attack=None
) -> None:
    """Adding `one` at `place` moves the sum by at most C, exactly, and only by itself."""
    threat = None if attack is None else Threat(eps=0.1)
    x = torch.cat([records.x[:place], one.x, records.x[place:]])
    y = torch.cat([records.y[:place], one.y, records.y[place:]])
    with ClippedGradients(loud_network(loud), clip=clip, attack=attack, threat=threat) as gradients:
        moved = gradients.sums(Records(x=x, y=y)) - gradients.sums(records)
        alone = gradients.sums(one)
    assert squared_norm(moved) <= GRID**2, f"moved by {squared_norm(moved) ** 0.5 / GRID} C"
    assert torch.equal(moved, alone), "a record moved what others add"


def check_every_record_is_clipped() -> None:
    """Neither loud records nor records of one direction move the sum by more than C each."""
    for loud, clip in ((1e-3, 1.0), (1.0, 0.1), (1e3, 1.0), (1e8, 5.0)):
        check_one_record_moves_at_most_c(images(5), images(1, seed=1), loud=loud, clip=clip)
    once = images(1)
    twice = Records(x=once.x.repeat(8, 1, 1, 1), y=once.y.repeat(8))
    with ClippedGradients(loud_network(1e3), clip=1.0) as gradients:
        assert torch.equal(gradients.sums(twice), 8 * gradients.sums(once)), "clipped together"
        assert squared_norm(gradients.sums(twice)) > 63 * GRID**2, "clipped to less than C"


def check_records_are_kept_apart() -> None:
    """Network and allowed attack treat every record by itself."""
    for attack in (None, Attack(name="pgd-ce", steps=2)):
        threat = Threat(eps=0.1)
        with ClippedGradients(loud_network(), clip=1.0, attack=attack, threat=threat) as gradients:
            gradients.require_isolated(INFO)


def check_noise_of_a_step(folder) -> None:
    """After one step on all records, what is not their gradient is noise of the size paid for.

    Half of the declared records are absent: a mean over those that are there would double it.
    """
    data, present = sealed(16), slice(0, 8)
    training = training_of(
        name="convnet2-w64", noise_multiplier=2.0, steps=1, batch=16, clip=0.5, lr=0.1
    )
    ledger = ledger_of(data, epsilon=100.0)
    read = ledger.read
    with mock.patch.object(ledger, "read", lambda access: part(read(access), present)):
        trained = train_privately(ledger, training, folder=folder / "step")[0]
    start = training.start(0, data.info)
    with ClippedGradients(start, clip=0.5) as gradients:
        sums = gradients.sums(part(images(16), present))
    before, after = (
        torch.cat([p.detach().flatten() for p in network.parameters()]).double()
        for network in (start, trained)
    )
    gradient = (before - after) / 0.1
    check_standard_normal((gradient * 16 / 0.5 - sums / GRID) / 2.0)


def check_samples_are_poisson(folder) -> None:
    """As many steps as are paid for, each of its own sample at the rate that is paid for."""
    n, steps = 24, 500
    info = DataInfo(name="toy", shape=(1,), classes=("a", "b"), count=n)
    x = torch.arange(n)[:, None] / n
    ledger = ledger_of(RealData(info=info, x=x, y=torch.arange(n) % 2), epsilon=100.0)
    training = training_of(steps=steps, batch=8)
    with seen_samples() as seen:
        train_privately(ledger, training, folder=folder / "samples")
    paid = ledger.accesses[0]
    # The first three calls are the check of isolation, on public records.
    samples = [(s.flatten() * n).round().long() for s in seen[3:]]
    assert len(samples) == paid.count == steps, f"{paid.count} steps charged, {len(samples)} taken"
    taken = np.zeros((steps, n))
    for row, sample in zip(taken, samples, strict=True):
        row[sample.numpy()] = 1
    q = paid.sample_rate
    sizes = taken.sum(1)
    assert all(len(s) == size for s, size in zip(samples, sizes, strict=True)), "a record twice"
    sd = (n * q * (1 - q)) ** 0.5
    assert abs(sizes.mean() - n * q) < 6 * sd / steps**0.5, "not at the rate that is charged"
    assert 0.6 < sizes.var() / sd**2 < 1.5, f"sizes of variance {sizes.var():.2f}, not {sd**2:.2f}"
    assert np.abs(taken.mean(0) - q).max() < 6 * (q * (1 - q) / steps) ** 0.5, "uneven"
    after = np.corrcoef(taken[:-1].ravel(), taken[1:].ravel())[0, 1]
    assert abs(after) < 6 / (steps * n) ** 0.5, f"a step's sample follows from the last: {after}"


def check_runs_differ(folder) -> None:
    """Two trainings of one setting share neither samples nor noise, whatever seeds and clocks."""
    now = time.time()
    clocks = {"time": now, "perf_counter": now, "monotonic": now, "time_ns": int(now * 1e9)}
    patched = {name: mock.Mock(return_value=value) for name, value in clocks.items()}
    samples, steps = [], []
    for run in range(2):
        torch.manual_seed(7)
        np.random.seed(7)
        training = training_of(name="mlp1-w8", batch=32, steps=4, seed=5)
        with seen_samples() as seen, mock.patch.multiple(time, **patched):
            network = train_privately(
                ledger_of(sealed(64)), training, folder=folder / f"run-{run}"
            )[0]
        samples.append(torch.cat([s.flatten() for s in seen[3:]]))
        start = training.start(0, INFO)
        steps.append(network.head.weight - start.head.weight)
    assert not torch.equal(*samples), "two runs took the same samples"
    # Noise is all that moves this network: with the same noise, the two would be all but equal.
    assert (steps[0] - steps[1]).norm() > 0.5 * steps[0].norm(), "two runs drew the same noise"


def check_nothing_is_trained_twice(folder) -> None:
    """What was published is read back, and never trained again under the same payment."""
    path, place, training = folder / "ledger", folder / "networks", training_of()
    first = train_privately(ledger_of(sealed(12), path=path), training, folder=place)[0]
    again = train_privately(ledger_of(sealed(12), path=path), training, folder=place)[0]
    assert torch.equal(first.head.weight, again.head.weight), "a second reader got another network"
    shutil.rmtree(place)
    with pytest.raises(PrivacyError, match="second release"):
        train_privately(ledger_of(sealed(12), path=path), training, folder=place)


def check_audit() -> None:
    """The audit tells a record no better than what is paid for allows."""
    training = training_of(
        name="convnet2-w8",
        noise_multiplier=1.0,
        steps=20,
        clip=0.5,
        attack=Attack(name="pgd-ce", steps=2),
        threat=Threat(eps=0.1),
    )
    report = audit_training(training, replace(INFO, count=16), delta=1e-5, runs=20_000)
    assert report.passed, report.words()


@contextlib.contextmanager
def seen_samples():
    """The records of every call of `ClippedGradients.sums`, while this lasts."""
    seen: list[torch.Tensor] = []
    sums = ClippedGradients.sums

    def noting(self, records):
        seen.append(records.x.clone())
        return sums(self, records)

    with mock.patch.object(ClippedGradients, "sums", noting):
        yield seen
