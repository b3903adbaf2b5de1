"""Planted defects: each is caught by a gate that moc itself has to pass in the other tests."""

from __future__ import annotations

from functools import partial

import pytest
from privacy import gates, planted

from moc.errors import DataError, PrivacyError

CAUGHT = [
    (planted.half_the_noise, "audit"),
    (planted.half_the_noise, "noise_of_every_rung"),
    (planted.a_tenth_less_noise, "noise_of_every_rung"),
    (planted.the_sensitivity_forgotten_in_the_noise, "audit"),
    (planted.every_rung_drawn_by_itself, "audit"),
    (planted.every_rung_drawn_by_itself, "noise_of_every_rung"),
    (planted.one_noise_for_all_rungs, "noise_of_every_rung"),
    (planted.the_clip_forgotten, "audit"),
    (planted.the_clip_forgotten, "worst_case_records_are_clipped"),
    (planted.class_counts_beside_the_clip, "worst_case_records_are_clipped"),
    (planted.every_statistic_clipped_by_itself, "worst_case_records_are_clipped"),
    (planted.a_clip_of_one_percent_more, "worst_case_records_are_clipped"),
    (planted.broken_records_not_dropped, "worst_case_records_are_clipped"),
    (planted.the_mean_for_the_sum, "sums_are_sums"),
    (planted.batch_norm_in_training_mode, "records_are_kept_apart"),
    (planted.a_statistic_that_looks_at_the_batch, "records_are_kept_apart"),
    (planted.noise_redrawn_for_every_reader, "reads_agree"),
    (planted.noise_from_the_clock, "noise_is_fresh"),
    (planted.noise_from_a_users_seed, "noise_is_fresh"),
    (planted.noise_of_sixteen_bits, "noise_is_fresh"),
    (planted.noise_from_the_global_generator, "noise_is_fresh"),
    (planted.the_count_published_with_the_sums, "every_coordinate_is_noisy"),
    (planted.the_count_published_with_the_scores, "scores_hide_the_count"),
    (planted.the_bound_of_scores_forgotten, "scores_are_bounded"),
    (planted.noise_of_scores_without_their_bound, "scores_are_bounded"),
    (planted.scores_counted_in_this_process_only, "scores_are_limited"),
    (planted.noise_of_thirty_two_bits, "noise_keys_are_long"),
    (planted.noise_clipped_at_four_sigma, "tails"),
    (planted.the_share_ignored_in_the_noise, "noise_is_what_the_ledger_charges"),
    (planted.what_is_paid_beside_ignored_in_the_noise, "noise_is_what_the_ledger_charges"),
    (planted.the_share_of_the_scores_spent_twice, "noise_is_what_the_ledger_charges"),
    (planted.one_noise_for_all_scores, "noise_is_independent"),
    (planted.one_noise_for_all_tensors, "noise_is_independent"),
    (planted.one_noise_for_all_runs, "noise_is_independent"),
    (planted.validation_taken_from_t, "parts_are_disjoint"),
    (planted.a_start_from_real_images, "start_is_public"),
    (planted.normalisation_from_private_records, "constants_are_public"),
]


def gate(name, tmp_path, digits):
    """A check of `gates` with what it needs."""
    check = getattr(gates, f"check_{name}")
    needs = {"records_are_kept_apart": digits}
    on_disk = ("reads_agree", "scores_are_limited", "start_is_public", "constants_are_public")
    on_disk += ("noise_is_what_the_ledger_charges",)
    needs |= dict.fromkeys(on_disk, tmp_path)
    return partial(check, needs[name]) if name in needs else check


@pytest.mark.parametrize(
    ("plant", "name"),
    CAUGHT,
    ids=[f"{plant.__name__}-{name}" for plant, name in CAUGHT],
)
def test_a_planted_defect_is_caught(plant, name, tmp_path, digits, monkeypatch):
    plant(monkeypatch)
    with pytest.raises((AssertionError, PrivacyError, DataError)):
        gate(name, tmp_path, digits)()


@pytest.mark.parametrize("name", sorted({name for _, name in CAUGHT}))
def test_moc_itself_passes_the_gate(name, tmp_path, digits):
    gate(name, tmp_path, digits)()
