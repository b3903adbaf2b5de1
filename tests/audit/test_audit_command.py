"""`moc audit` on a study file: all is well, or a planted defect and an exit code that says so."""

from __future__ import annotations

import pytest
from privacy import planted
from typer.testing import CliRunner

from moc.cli import app

STUDY = """
name = "audited"
[data]
source = "digits"
train = 100
validation = 20
test = 20
public = ["validation", "test"]
[privacy]
epsilons = [8.0, 4.0]
[objectives.error]
"""
ROUND = """
[[rounds]]
share = 1.0
networks = ["convnet2-w8"]
count = 2
width = 8
statistics = ["class-means", "second-moments", "class-counts"]
"""
ROUNDS = """
[[rounds]]
share = 0.4
networks = ["convnet2-w8"]
count = 1
[[rounds]]
share = 0.6
networks = ["convnet2-w8"]
count = 2
[[rounds.statistics]]
kind = "class-means"
[[rounds.statistics]]
kind = "fourier"
frequencies = 4
weight = 0.3
"""

PAID = STUDY.replace('public = ["validation", "test"]', 'public = ["test"]').replace(
    "epsilons = [8.0, 4.0]", "epsilons = [8.0, 4.0]\nscoring = 0.4"
)
"""The same, which pays for scores beside its release."""

SEEN = {
    planted.half_the_noise: "a worst-case record was distinguished",
    planted.a_tenth_less_noise: "a worst-case record was distinguished",
    planted.the_sensitivity_forgotten_in_the_noise: "a worst-case record was distinguished",
    planted.every_rung_drawn_by_itself: "all rungs together: FAILED",
    planted.the_clip_forgotten: "a worst-case record was distinguished",
    planted.every_statistic_clipped_by_itself: "a worst-case record was distinguished",
    planted.a_statistic_that_looks_at_the_batch: "What a record adds",
    planted.the_mean_for_the_sum: "What a record adds",
    planted.batch_norm_in_training_mode: "What a record adds",
    planted.the_count_published_with_the_sums: "without noise",
    planted.noise_redrawn_for_every_reader: "does not read back the same",
    planted.noise_from_the_clock: "noise came twice",
    planted.noise_from_a_users_seed: "noise came twice",
    planted.noise_of_sixteen_bits: "noise came twice",
    planted.noise_from_the_global_generator: "noise came twice",
    planted.a_start_from_real_images: "depends on the records",
}
"""What the audit says of each defect. The others need T, held-out records or worst-case input, and
have their own gates in `test_mutations.py`."""


def audit(folder, rounds=ROUND, study=STUDY):
    path = folder / "audited.toml"
    path.write_text(study + rounds)
    return CliRunner().invoke(app, ["audit", str(path)])


def test_moc_itself_passes(tmp_path):
    result = audit(tmp_path, ROUNDS)
    assert result.exit_code == 0, result.output
    assert "FAILED" not in result.output
    # Two rounds, each with its networks, its handling, two rungs and both rungs together; the sum.
    assert result.output.count("passed") == 11
    assert "budget: passed; 2 round(s) of the release cost epsilon 8 together" in result.output


@pytest.mark.parametrize("plant", SEEN, ids=lambda plant: plant.__name__)
def test_a_planted_defect_fails_the_command(plant, tmp_path, monkeypatch):
    plant(monkeypatch)
    result = audit(tmp_path)
    assert result.exit_code == 1, result.output
    failed = [line for line in result.output.splitlines() if "FAILED" in line]
    assert any(SEEN[plant] in line for line in failed), result.output


def test_a_share_of_the_budget_is_audited_for_what_it_claims(tmp_path):
    result = audit(tmp_path, ROUNDS, PAID)
    assert result.exit_code == 0, result.output
    assert "2 round(s) of the release and 4 paid scores cost epsilon 8 together" in result.output
    # 1/sigma² of a rung of epsilon 8 is 1.666²; a release of 60 % of it has rounds of 40 and 60 %.
    claims = [1.666 * (0.6 * share) ** 0.5 for share in (0.4, 0.6)]
    lines = [line for line in result.output.splitlines() if "rung epsilon 8" in line]
    for claim, line in zip(claims, lines, strict=True):
        found, claimed = (float(part.split()[0].strip("():,")) for part in _mus(line))
        assert abs(claimed - claim) < 2e-3
        assert 0.9 * claim < found <= claimed, line


def _mus(line):
    """What was found and what is claimed, as the words begin."""
    words = line.split("with mu at least ")[1]
    return words, words.split("(claimed: at most ")[1]


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (planted.the_share_ignored_in_the_noise, "a worst-case record was distinguished"),
        (planted.what_is_paid_beside_ignored_in_the_noise, "a worst-case record was distingu"),
        (planted.the_share_of_the_scores_spent_twice, "budget: FAILED"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_budget_that_is_spent_twice_fails_the_command(plant, words, tmp_path, monkeypatch):
    plant(monkeypatch)
    result = audit(tmp_path, ROUNDS, PAID)
    assert result.exit_code == 1, result.output
    assert any(words in line for line in result.output.splitlines() if "FAILED" in line)
