"""The Fashion-MNIST studies on a slice of the real data, where it is installed."""

from pathlib import Path

import pytest
from fashion_mnist import needs_fashion_mnist

from moc.evaluate.baselines import BASELINES, DECODED
from moc.study.config import load_config, parse_config
from moc.study.run import run_study

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.mark.slow
@needs_fashion_mnist
@pytest.mark.parametrize("name", ["fashion_mnist", "fashion_mnist_private", "robust_fashion_mnist"])
def test_a_slice_of_the_study_runs_to_its_end(name, tmp_path):
    tables = load_config(STUDIES / f"{name}.toml").model_dump(mode="json")
    tables["data"] |= {"train": 400, "validation": 20, "test": 20}
    tables["condense"] |= {"steps": 3, "images_per_class": 2}
    tables["teacher"] |= {"steps": 2, "network": "convnet3-w8"}
    tables["evidence"] |= {"networks": ["convnet3-w8"]}
    tables["evaluate"] |= {"replicates": 1, "report_replicates": 1}
    tables["search"] |= {"trials": 2, "batch": 2}
    tables["executor"] |= {"workers": 1}
    if tables["privacy"]:
        tables["privacy"] |= {"epsilons": [8.0, 1.0]}
        tables["rounds"][0] |= {"networks": ["convnet2-w8-half"], "count": 2}
        tables["evidence"] |= {"steps": 2, "images_per_class": 8}
    study = run_study(parse_config(tables, where="test"), tmp_path / name)
    assert study.complete
    assert study.front
    assert {checks.trial for checks in study.masking} == set(study.front)
    assert all("transfer" in checks.checks[-1][0] for checks in study.masking)
    assert (study.delta is not None) == ("private" in name)
    decoded = {DECODED} if "robust" in name else set()
    assert {b.name for b in study.baselines} == {*BASELINES, *decoded}
