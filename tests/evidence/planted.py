"""Defects to plant in moc, each by a function of pytest's `monkeypatch`."""

from __future__ import annotations

import copy
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from evidence_tools import HeadAttack

from moc.bank import Member
from moc.data import arrays
from moc.errors import PrivacyError
from moc.evidence import HeldOut, Moments, Statistics, rungs
from moc.evidence import ledger as ledger_module
from moc.evidence import noise as noise_module
from moc.evidence import release as release_module
from moc.evidence.statistics import GRID

GAUSSIAN = noise_module.gaussian
SUMS = Statistics.sums


def half_the_noise(plant):
    plant.setattr(release_module, "gaussian", lambda n, **how: GAUSSIAN(n, **how) / 2)


def a_tenth_less_noise(plant):
    plant.setattr(release_module, "gaussian", lambda n, **how: GAUSSIAN(n, **how) * 0.9)


def the_sensitivity_forgotten_in_the_noise(plant):
    plant.setattr(release_module, "CLIP", 0.1)


def every_rung_drawn_by_itself(plant):
    noised = release_module.noised

    def independent(sums, ladder, tier):
        alone = [type(ladder)(epsilons=(epsilon,)) for epsilon in ladder.epsilons]
        return [noised(sums, one, tier)[0] for one in alone]

    plant.setattr(release_module, "noised", independent)


def one_noise_for_all_rungs(plant):
    kept = {}

    def reused(n, *, std, tier):
        noise = kept.setdefault(n, GAUSSIAN(n, std=1.0, tier=tier))
        return noise * std

    plant.setattr(release_module, "gaussian", reused)


def the_clip_forgotten(plant):
    plant.setattr(Statistics, "_clip_factors", lambda self, _: torch.ones(self.batch).double())


def class_counts_beside_the_clip(plant):
    factors = Statistics._clip_factors

    def without_counts(self, features):
        other = copy.copy(self)
        object.__setattr__(other, "counts", 0.0)
        return factors(other, features)

    plant.setattr(Statistics, "_clip_factors", without_counts)


def the_clip_before_the_attack(plant):
    def sums(self, records, *, attack=None, progress=None):
        del progress
        total = self.zeros()
        for _, x, y in self._batches(records):
            scale = self._clip_factors(self._features(x, y, None))
            for k, phi in enumerate(self._features(x, y, attack)):
                self._accumulate(total, k, phi, scale, y)
        return total

    plant.setattr(Statistics, "sums", sums)


def broken_records_not_dropped(plant):
    factors = Statistics._clip_factors
    plant.setattr(Statistics, "_clip_factors", lambda self, f: factors(self, f).clamp_min(1e-3))


def the_mean_for_the_sum(plant):
    def mean(self, records, **options):
        total = SUMS(self, records, **options)
        n = max(len(records.y), 1)
        return type(total)(**{name: block // n for name, block in total.blocks().items()})

    plant.setattr(Statistics, "sums", mean)


def batch_norm_in_training_mode(plant):
    def forward(self, x):
        x = x if self.draw is None else self.draw(x)
        features = F.batch_norm(self.network.embed(x), None, None, training=True)
        return F.normalize(features - self.centre, dim=-1)

    plant.setattr(Member, "forward", forward)


def a_random_start_in_the_attack(plant):
    call = HeadAttack.__call__

    def random_start(self, k, member, x, y):
        noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
        return call(self, k, member, (x + 0.01 * noise).clamp(0, 1), y)

    plant.setattr(HeadAttack, "__call__", random_start)


def noise_redrawn_for_every_reader(plant):
    load = rungs.load

    def noisy(path, claim):
        return {name: value + torch.rand(()) for name, value in load(path, claim).items()}

    plant.setattr(rungs, "load", noisy)


def seeded(plant, generator):
    def gaussian(n, *, std, tier):
        del tier
        return torch.from_numpy(generator().standard_normal(n) * std)

    plant.setattr(noise_module, "gaussian", gaussian)


def noise_from_the_clock(plant):
    seeded(plant, lambda: np.random.default_rng(int(time.time() * 1000) % 100_000))


def noise_from_a_users_seed(plant):
    seeded(plant, lambda: np.random.default_rng(0))


def noise_of_sixteen_bits(plant):
    seeded(plant, lambda: np.random.default_rng(random.SystemRandom().randrange(2**16)))


def noise_from_the_global_generator(plant):
    plant.setattr(
        noise_module,
        "gaussian",
        lambda n, *, std, tier: torch.randn(n).double() * std,  # noqa: ARG005
    )


def the_count_published_with_the_sums(plant):
    noised = release_module.noised

    def with_count(sums, ladder, tier):
        found = noised(sums, ladder, tier)
        for rung in found:
            rung["first"][0, 0, 0] = sums.first.sum() / GRID
        return found

    plant.setattr(release_module, "noised", with_count)


def the_count_published_with_the_scores(plant):
    publish = HeldOut.publish

    def exact(self, counts):
        self._count = len(self._records.y)
        return publish(self, counts)

    plant.setattr(HeldOut, "publish", exact)


def scores_counted_in_this_process_only(plant):
    def use(self, key):
        left = self.__dict__.setdefault("left", {}).setdefault(key, self._paid(key).count)
        if left < 1:
            raise PrivacyError("used up")
        self.left[key] -= 1

    plant.setattr("moc.evidence.ledger.Ledger.use", use)


def a_start_from_real_images(plant):
    unseal, kept = ledger_module.unseal, []

    def remembering(data):
        kept[:] = [unseal(data)]
        return kept[0]

    plant.setattr(ledger_module, "unseal", remembering)
    plant.setattr(Moments, "start", lambda _, y, **__: kept[0].x[: len(y)].clone())


def normalisation_from_private_records(plant):
    to_real = arrays.to_real

    def private(name, x, y, **options):
        return to_real(name, x, y, **options, mean=float(x.mean()), std=float(x.std()))

    plant.setattr(arrays, "to_real", private)
