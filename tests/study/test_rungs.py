"""What readers of a rung see is a function of that rung: nothing above it has a part in it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from privacy import planted
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import PRIVATE, TINY

from moc.data.storage import checksum
from moc.export import export_set
from moc.privacy.release import _SUM
from moc.study.closing import Closing
from moc.study.config import parse_config
from moc.study.run import run_study

TABLES = {
    **PRIVATE,
    "name": "rungs",
    "data": {key: value for key, value in TINY["data"].items() if key != "reference"},
    "rounds": [{"networks": ["convnet2-w8"], "count": 2}],
    "objectives": {
        "error": {},
        "robust_error": {
            "adversarial": {
                "kind": "attacked",
                "records": 8,
                "targets": "teachers",
                "attack": {"kind": "fgsm"},
            }
        },
    },
    "search": {"trials": 4, "batch": 2, "engine": "sobol"},
}


def seen_of_the_lower_rung(folder, out, front) -> dict[str, object]:
    """Sets, scores, checks, curves and cards of every trial of rung 1."""
    tables = {**TABLES, "condense": {**TINY["condense"], "front": front}}
    with records_that_attack() as attacking:
        study = run_study(parse_config(tables, where="test"), folder)
    found: dict[str, object] = {}
    for trial in study.trials:
        if trial.rung.index != 1:
            continue
        made = export_set(study, trial.number, out / trial.name)
        found |= {str(file.relative_to(out)): file.read_bytes() for file in made.iterdir()}
        found[f"{trial.name} scores"] = (trial.scores, trial.report, trial.weights, trial.losses)
        found[f"{trial.name} checks"] = [one for one in study.masking if one.trial == trial.number]
        found[f"{trial.name} attacked from"] = attacking.get(trial.name)
        found[f"{trial.name} curve"] = [one for one in study.curves if one.name == trial.name]
    return found


@contextmanager
def records_that_attack() -> Iterator[dict[str, list[bytes]]]:
    """The records made adversarial to other networks that a trial's set is tried on.

    They are seen in a check only where they bring another of a few records down.
    """
    found: dict[str, list[bytes]] = {}
    own = Closing._job

    def watched(self, name, study, number):
        job = own(self, name, study, number)
        found[name] = [digest(records) for records in job.transferred]
        return job

    with pytest.MonkeyPatch.context() as plant:
        plant.setattr(Closing, "_job", watched)
        yield found


def digest(records: torch.Tensor) -> bytes:
    return hashlib.sha256(records.numpy().tobytes()).digest()


def with_another_rung_0(folder, other):
    """A study that has drawn the same release, but for its largest epsilon."""
    other.mkdir()
    shutil.copy(folder / "privacy.jsonl", other)
    shutil.copytree(folder / "release-0", other / "release-0")
    path = other / "release-0" / "rung-0.safetensors"
    with safe_open(path, framework="pt") as file:
        claim = file.metadata()
    blocks = {name: block + 2**21 for name, block in load_file(path).items()}
    save_file(blocks, path, {**claim, _SUM: checksum(blocks)})
    return other


def check_a_rung_owes_nothing_to_those_above(tmp_path, front="curve") -> None:
    """Change only rung 0's release: every set, score, check and card of rung 1 stays the same."""
    before = seen_of_the_lower_rung(tmp_path / "a", tmp_path / "cards-a", front)
    other = with_another_rung_0(tmp_path / "a", tmp_path / "b")
    after = seen_of_the_lower_rung(other, tmp_path / "cards-b", front)
    first = "sets/trial-000.safetensors"
    assert (tmp_path / "a" / first).read_bytes() != (other / first).read_bytes(), "nothing changed"
    assert any(value for name, value in before.items() if name.endswith("checks"))
    assert before.keys() == after.keys()
    changed = [name for name, value in before.items() if after[name] != value]
    assert not changed, f"these of rung 1 changed with rung 0: {changed}"


@pytest.mark.parametrize("front", ["curve", "apart"])
def test_a_rung_owes_nothing_to_those_above(tmp_path, front):
    check_a_rung_owes_nothing_to_those_above(tmp_path, front)


@pytest.mark.parametrize(
    ("plant", "front"),
    [
        (planted.the_largest_rungs_curve_for_all, "curve"),
        (planted.the_largest_rungs_teacher_for_all, "curve"),
        (planted.the_largest_rungs_transfer_for_all, "curve"),
        (planted.the_largest_rungs_normalisation_for_all, "apart"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_study_in_which_rungs_mix_is_caught(plant, front, tmp_path, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="of rung 1 changed"):
        check_a_rung_owes_nothing_to_those_above(tmp_path, front)
