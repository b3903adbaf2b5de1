"""`moc audit` on a study file: all is well, or a planted defect and an exit code that says so."""

from __future__ import annotations

import planted
import pytest
from test_training_mutations import half_the_noise
from typer.testing import CliRunner

from moc.cli import app

DATA = """
name = "audited"
[data]
source = "digits"
train = 100
validation = 20
test = 20
[bank]
networks = ["convnet2-w8"]
"""

STUDY = f"""{DATA}[privacy]
epsilons = [8.0, 1.0]
networks = 2
second = 0.3
width = 8
[objectives]
adversarial = "release"
attack_steps = 1
"""

TRAINED = f"""{DATA}[privacy]
epsilons = [8.0]
networks = 2
training = 0.5
[teacher]
source = "dp-training"
network = "convnet2-w8"
steps = 20
batch = 20
"""

SEEN = {
    planted.half_the_noise: "a worst-case record was told",
    planted.a_tenth_less_noise: "a worst-case record was told",
    planted.the_sensitivity_forgotten_in_the_noise: "a worst-case record was told",
    planted.every_rung_drawn_by_itself: "all rungs together: FAILED",
    planted.the_clip_forgotten: "a worst-case record was told",
    planted.the_clip_before_the_attack: "a worst-case record was told",
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
"""What the audit says of each defect. The others need T, held-out records or hostile input, and
have their own gates in `test_mutations.py`."""


def audit(folder, study=STUDY):
    path = folder / "audited.toml"
    path.write_text(study)
    return CliRunner().invoke(app, ["audit", str(path)])


def test_moc_itself_passes(tmp_path):
    result = audit(tmp_path)
    assert result.exit_code == 0, result.output
    assert "FAILED" not in result.output
    assert result.output.count("passed") == 10


def test_dp_training_of_teachers_is_audited_too(tmp_path, monkeypatch):
    result = audit(tmp_path, TRAINED)
    assert result.exit_code == 0, result.output
    assert "DP training of 1 network: passed" in result.output
    half_the_noise(monkeypatch)
    result = audit(tmp_path, TRAINED)
    assert result.exit_code == 1
    assert "DP training of 1 network: FAILED" in result.output


@pytest.mark.parametrize("plant", SEEN, ids=lambda plant: plant.__name__)
def test_a_planted_defect_fails_the_command(plant, tmp_path, monkeypatch):
    plant(monkeypatch)
    result = audit(tmp_path)
    assert result.exit_code == 1, result.output
    failed = [line for line in result.output.splitlines() if "FAILED" in line]
    assert any(SEEN[plant] in line for line in failed), result.output
