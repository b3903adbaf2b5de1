"""Planted defects of DP training: each is caught by a gate that moc itself passes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import training_checks as checks

from moc.attacks import Attack
from moc.errors import PrivacyError
from moc.evidence import dp_training
from moc.evidence.dp_training import PrivateTraining
from moc.evidence.gradients import ClippedGradients
from moc.evidence.ledger import Ledger
from moc.evidence.statistics import GRID
from moc.networks import Network

GAUSSIAN, SAMPLE = dp_training.gaussian, dp_training.poisson_sample
ACCESS, MEAN = PrivateTraining.access, dp_training.noisy_mean


def grid(gradients, scale):
    return torch.cat([(g * scale * GRID).trunc().long().sum(0) for g in gradients])


def the_clip_forgotten(plant):
    plant.setattr(ClippedGradients, "_clipped", lambda self, g: grid(g, 1 / self._clip))


def the_sum_clipped_for_the_records(plant):
    def clipped(self, gradients):
        total = torch.cat([g.sum(0) for g in gradients])
        return grid([total[None]], 1 / max(float(total.norm()), self._clip))

    plant.setattr(ClippedGradients, "_clipped", clipped)


def every_layer_clipped_by_itself(plant):
    def clipped(self, gradients):
        scales = [(1 / g.norm(dim=1)).clamp(max=1 / self._clip)[:, None] for g in gradients]
        return grid([g * s for g, s in zip(gradients, scales, strict=True)], 1.0)

    plant.setattr(ClippedGradients, "_clipped", clipped)


def half_the_noise(plant):
    plant.setattr(dp_training, "gaussian", lambda n, **how: GAUSSIAN(n, **how) / 2)


def a_tenth_less_noise(plant):
    plant.setattr(dp_training, "gaussian", lambda n, **how: GAUSSIAN(n, **how) * 0.9)


def the_clip_forgotten_in_the_noise(plant):
    def mean(sums, training):
        noise = MEAN(torch.zeros_like(sums), training)
        return sums * training.clip / (GRID * training.batch) + noise * training.clip

    plant.setattr(dp_training, "noisy_mean", mean)


def the_size_of_the_batch_published(plant):
    """The mean over the records that are there, with noise of the size of that mean's share."""
    sums, size = ClippedGradients.sums, []

    def counting(self, records):
        size[:] = [len(records.y)]
        return sums(self, records)

    plant.setattr(ClippedGradients, "sums", counting)
    plant.setattr(
        dp_training, "noisy_mean", lambda s, training: MEAN(s, replace(training, batch=size[0]))
    )


def batches_of_one_size(plant):
    def chosen(count, rate):
        places = np.random.default_rng().permutation(count)
        return torch.from_numpy(places[: round(count * rate)])

    plant.setattr(dp_training, "poisson_sample", chosen)


def epochs_of_a_shuffle(plant):
    left = []

    def chosen(count, rate):
        if len(left) < count * rate:
            left[:] = np.random.default_rng().permutation(count).tolist()
        return torch.tensor([left.pop() for _ in range(round(count * rate))])

    plant.setattr(dp_training, "poisson_sample", chosen)


def one_sample_for_all_steps(plant):
    kept = {}
    plant.setattr(dp_training, "poisson_sample", lambda n, q: kept.setdefault((n, q), SAMPLE(n, q)))


def samples_from_a_seed(plant):
    steps = itertools.count()

    def chosen(count, rate):
        rng = np.random.default_rng(next(steps) % 4)  # the trainings of the gate have four steps
        return torch.from_numpy(np.flatnonzero(rng.random(count) < rate))

    plant.setattr(dp_training, "poisson_sample", chosen)


def samples_from_the_global_generator(plant):
    plant.setattr(dp_training, "poisson_sample", lambda n, q: torch.where(torch.rand(n) < q)[0])


def noise_from_the_global_generator(plant):
    def gaussian(n, *, std, tier):
        del tier
        return torch.randn(n, dtype=torch.float64) * std

    plant.setattr(dp_training, "gaussian", gaussian)


def one_noise_for_all_runs(plant):
    kept = {}

    def reused(n, *, std, tier):
        return kept.setdefault(n, GAUSSIAN(n, std=1.0, tier=tier)) * std

    plant.setattr(dp_training, "gaussian", reused)


def a_smaller_rate_charged(plant):
    def access(self, number, records):
        paid = ACCESS(self, number, records)
        return replace(paid, sample_rate=paid.sample_rate / 2)

    plant.setattr(PrivateTraining, "access", access)


def one_step_charged_for_all(plant):
    plant.setattr(PrivateTraining, "access", lambda *a: replace(ACCESS(*a), count=1))


def trained_anew_for_every_reader(plant):
    plant.setattr(Ledger, "finish", lambda *_: None)


def batch_norm_in_training_mode(plant):
    embed = Network.embed
    plant.setattr(
        Network, "embed", lambda self, x: F.batch_norm(embed(self, x), None, None, training=True)
    )


def a_random_start_in_the_attack(plant):
    call = Attack.__call__

    def random_start(self, model, x, y, **how):
        noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
        return call(self, model, (x + 0.01 * noise).clamp(0, 1), y, **how)

    plant.setattr(Attack, "__call__", random_start)


def twice_the_rate(plant):
    plant.setattr(dp_training, "poisson_sample", lambda n, q: SAMPLE(n, 2 * q))


CAUGHT = [
    (half_the_noise, "audit"),
    (a_tenth_less_noise, "audit"),
    (twice_the_rate, "audit"),
    (the_clip_forgotten, "audit"),
    (the_clip_forgotten_in_the_noise, "audit"),
    (batch_norm_in_training_mode, "audit"),
    (a_random_start_in_the_attack, "audit"),
    (the_clip_forgotten, "every_record_is_clipped"),
    (the_sum_clipped_for_the_records, "every_record_is_clipped"),
    (every_layer_clipped_by_itself, "every_record_is_clipped"),
    (half_the_noise, "noise_of_a_step"),
    (a_tenth_less_noise, "noise_of_a_step"),
    (the_clip_forgotten_in_the_noise, "noise_of_a_step"),
    (the_size_of_the_batch_published, "noise_of_a_step"),
    (twice_the_rate, "samples_are_poisson"),
    (batches_of_one_size, "samples_are_poisson"),
    (epochs_of_a_shuffle, "samples_are_poisson"),
    (one_sample_for_all_steps, "samples_are_poisson"),
    (a_smaller_rate_charged, "samples_are_poisson"),
    (one_step_charged_for_all, "samples_are_poisson"),
    (samples_from_a_seed, "runs_differ"),
    (samples_from_the_global_generator, "runs_differ"),
    (noise_from_the_global_generator, "runs_differ"),
    (one_noise_for_all_runs, "runs_differ"),
    (trained_anew_for_every_reader, "nothing_is_trained_twice"),
    (batch_norm_in_training_mode, "records_are_kept_apart"),
    (a_random_start_in_the_attack, "records_are_kept_apart"),
]


def gate(name, tmp_path):
    """A check of `training_checks` with what it needs."""
    check = getattr(checks, f"check_{name}")
    in_memory = ("every_record_is_clipped", "records_are_kept_apart", "audit")
    return check if name in in_memory else partial(check, tmp_path)


@pytest.mark.parametrize(
    ("plant", "name"), CAUGHT, ids=[f"{plant.__name__}-{name}" for plant, name in CAUGHT]
)
def test_a_planted_defect_is_caught(plant, name, tmp_path, monkeypatch):
    plant(monkeypatch)
    with pytest.raises((AssertionError, PrivacyError, pytest.fail.Exception)):
        gate(name, tmp_path)()


@pytest.mark.parametrize("name", sorted({name for _, name in CAUGHT}))
def test_moc_itself_passes_the_gate(name, tmp_path):
    gate(name, tmp_path)()
