"""Defects to plant in moc, each by a function of pytest's `monkeypatch`."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from moc.data import arrays
from moc.data.sources import npz
from moc.data.vault import RealData
from moc.errors import PrivacyError
from moc.evidence.moments import Moments
from moc.networks.bank import Member
from moc.networks.network import Ensembles
from moc.privacy import held_out as held_out_module
from moc.privacy import ledger as ledger_module
from moc.privacy import noise as noise_module
from moc.privacy import release as release_module
from moc.privacy.collect import Collection
from moc.privacy.held_out import HeldOut
from moc.privacy.ladder import Ladder, PrivacySettings
from moc.privacy.sums import GRID, Sums
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans
from moc.study import jobs as jobs_module
from moc.study import rounds as rounds_module
from moc.study import teachers as teachers_module
from moc.study.closing import Closing
from moc.study.lane import Lane
from moc.study.schedule import Clock

GAUSSIAN = noise_module.gaussian
SUMS, FACTORS = Collection.sums, Collection._clip_factors


def half_the_noise(plant):
    plant.setattr(release_module, "gaussian", lambda n, **how: GAUSSIAN(n, **how) / 2)


def a_tenth_less_noise(plant):
    plant.setattr(release_module, "gaussian", lambda n, **how: GAUSSIAN(n, **how) * 0.9)


def the_sensitivity_forgotten_in_the_noise(plant):
    plant.setattr(release_module, "CLIP", 0.1)


def every_rung_drawn_by_itself(plant):
    noised = release_module.noised

    def independent(sums, ladder, tier):
        alone = [replace(ladder, epsilons=(epsilon,)) for epsilon in ladder.epsilons]
        return [noised(sums, one, tier)[0] for one in alone]

    plant.setattr(release_module, "noised", independent)


def one_noise_for_all_rungs(plant):
    kept = {}

    def reused(n, *, std, tier):
        noise = kept.setdefault(n, GAUSSIAN(n, std=1.0, tier=tier))
        return noise * std

    plant.setattr(release_module, "gaussian", reused)


def the_clip_forgotten(plant):
    plant.setattr(Collection, "_clip_factors", lambda self, *_: torch.ones(self.batch).double())


def class_counts_beside_the_clip(plant):
    plant.setattr(ClassCounts, "squared_norms", lambda *_: 0.0)


def every_statistic_clipped_by_itself(plant):
    def sums(self, records, **options):
        blocks = {}
        for part in self.statistics:
            alone = replace(self, statistics=(part.but(weight=1.0),))
            blocks |= SUMS(alone, records, **options).blocks
        return Sums(blocks=blocks)

    plant.setattr(Collection, "sums", sums)


def a_clip_of_one_percent_more(plant):
    plant.setattr(Collection, "_clip_factors", lambda self, *a: FACTORS(self, *a) * 1.01)


def broken_records_not_dropped(plant):
    def factors(self, *arguments):
        return FACTORS(self, *arguments).clamp_min(1e-3)

    plant.setattr(Collection, "_clip_factors", factors)


def the_mean_for_the_sum(plant):
    def mean(self, records, **options):
        total, n = SUMS(self, records, **options), max(len(records.y), 1)
        return Sums(blocks={name: block // n for name, block in total.items()})

    plant.setattr(Collection, "sums", mean)


def a_statistic_that_looks_at_the_batch(plant):
    plant.setattr(ClassMeans, "terms", lambda *seen: seen[-1] - seen[-1].mean(0) / 2)


def batch_norm_in_training_mode(plant):
    def forward(self, x):
        x = x if self.draw is None else self.draw(x)
        features = F.batch_norm(self.network.embed(x), None, None, training=True)
        return F.normalize(features - self.centre, dim=-1)

    plant.setattr(Member, "forward", forward)


def noise_redrawn_for_every_reader(plant):
    load = release_module._load

    def noisy(path, claim):
        return {name: value + torch.rand(()) for name, value in load(path, claim).items()}

    plant.setattr(release_module, "_load", noisy)


def seeded(plant, generator):
    def gaussian(n, *, std, tier):
        del tier
        return torch.from_numpy(generator().standard_normal(n) * std)

    plant.setattr(noise_module, "gaussian", gaussian)


def noise_from_the_clock(plant):
    seeded(plant, lambda: np.random.default_rng(int(time.time())))


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


def noise_of_thirty_two_bits(plant):
    def generator():
        return np.random.Generator(np.random.Philox(key=random.SystemRandom().randrange(2**32)))

    plant.setattr(noise_module, "_generator", generator)


def noise_clipped_at_four_sigma(plant):
    plant.setattr(
        noise_module,
        "gaussian",
        lambda n, *, std, tier: _clipped(GAUSSIAN(n, std=std, tier=tier), std),
    )


def _clipped(values, std):
    return values.clamp(-4 * std, 4 * std)


def the_share_ignored_in_the_noise(plant):
    noised = release_module.noised
    plant.setattr(
        release_module,
        "noised",
        lambda sums, ladder, tier: noised(sums, replace(ladder, share=1.0), tier),
    )


def what_is_paid_beside_ignored_in_the_noise(plant):
    noised = release_module.noised

    def alone(sums, ladder, tier):
        return noised(sums, replace(ladder, share=ladder.share / (ladder.release or 1.0)), tier)

    plant.setattr(release_module, "noised", alone)


def the_share_of_the_scores_spent_twice(plant):
    def ladder(self):
        return Ladder(epsilons=self.epsilons, delta=self.delta)

    plant.setattr(PrivacySettings, "ladder", property(ladder))


def one_noise_for_all_scores(plant):
    kept = {}

    def reused(n, *, std, tier):
        return kept.setdefault(n, GAUSSIAN(n, std=1.0, tier=tier)) * std

    plant.setattr(held_out_module, "gaussian", reused)


def one_noise_for_all_tensors(plant):
    def repeated(n, **how):
        return GAUSSIAN(-(-n // 2), **how).repeat(2)[:n]

    plant.setattr(release_module, "gaussian", repeated)


def one_noise_for_all_runs(plant):
    kept = {}

    def reused(n, *, std, tier):
        return kept.setdefault((n, std), GAUSSIAN(n, std=std, tier=tier))

    plant.setattr(release_module, "gaussian", reused)


def validation_taken_from_t(plant):
    split = RealData.split

    def overlapping(self, sizes, *, seed):
        return tuple(split(self, [size], seed=seed)[0] for size in sizes)

    plant.setattr(RealData, "split", overlapping)


def the_largest_rungs_teacher_for_all(plant):
    plant.setattr(teachers_module, "Ensembles", lambda groups: Ensembles([groups[0]] * len(groups)))


def the_largest_rungs_normalisation_for_all(plant):
    own = Lane._normalisation

    def first(self):
        return own(Lane(self.context, self.ledger, self.work, 0, Clock(self.ledger)))

    plant.setattr(Lane, "_normalisation", first)


def the_largest_rungs_curve_for_all(plant):
    own = jobs_module.condense_curves

    def first(starts, **options):
        return own([replace(start, rung=0) for start in starts], **options)

    plant.setattr(jobs_module, "condense_curves", first)


def the_largest_rungs_transfer_for_all(plant):
    own = Closing._transfer

    def first(self, study, number):
        del number
        return own(self, study, next(t.number for t in study.trials if t.rung.index == 0))

    plant.setattr(Closing, "_transfer", first)


def the_largest_rungs_networks_for_all(plant):
    own = rounds_module.make_proxies
    plant.setattr(
        rounds_module, "make_proxies", lambda *a, **options: own(*a, **{**options, "rungs": [0]})
    )


def the_count_published_with_the_sums(plant):
    noised = release_module.noised

    def with_count(sums, ladder, tier):
        found = noised(sums, ladder, tier)
        for rung in found:
            name, block = sums.items()[0]
            rung[name][0, 0, 0] = block.sum() / GRID
        return found

    plant.setattr(release_module, "noised", with_count)


def the_count_published_with_the_scores(plant):
    publish = HeldOut.publish

    def exact(self, counts):
        self._count = len(self._records.y)
        return publish(self, counts)

    plant.setattr(HeldOut, "publish", exact)


def the_bound_of_scores_forgotten(plant):
    def count(self, outcome, *, bound):
        values = outcome(self._records.x, self._records.y).double().clamp(0.0, 1.0)
        return held_out_module.Counts(_sums=values.sum(0), bound=bound)

    plant.setattr(HeldOut, "count", count)


def noise_of_scores_without_their_bound(plant):
    publish = HeldOut.publish

    def unscaled(self, counts):
        return publish(self, replace(counts, bound=1e-3))

    plant.setattr(HeldOut, "publish", unscaled)


def scores_counted_in_this_process_only(plant):
    def use(self, key):
        left = self.__dict__.setdefault("left", {}).setdefault(key, self._paid(key).count)
        if left < 1:
            raise PrivacyError("used up")
        self.left[key] -= 1

    plant.setattr("moc.privacy.ledger.Ledger.use", use)


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

    plant.setattr(npz, "to_real", private)
