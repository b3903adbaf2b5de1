"""Every study that ships can run: `moc check` tries it, on data of the form that it declares."""

from __future__ import annotations

import json
import runpy
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from idx_files import write
from PIL import Image
from typer.testing import CliRunner

from moc.cli import app
from moc.study.config import load_config, parse_config
from moc.study.run import run_study

STUDIES = Path(__file__).parents[2] / "studies"
FILES = sorted(STUDIES.glob("*.toml"))
CASES = [
    pytest.param(path, profile, id="-".join(filter(None, (path.stem, profile))))
    for path in FILES
    for profile in [None, *tomllib.loads(path.read_text("utf-8")).get("profile", {})]
]


def pictures(n, shape, *, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def fashion(home):
    write(home, images=pictures(60_000, (28, 28)), labels=(np.arange(60_000) % 10).astype("u1"))
    write(
        home,
        "t10k",
        images=pictures(10_000, (28, 28), seed=1),
        labels=(np.arange(10_000) % 10).astype("u1"),
    )


def own_images(home):
    """Two classes, of two sizes and of both modes."""
    for k in range(500):
        folder = home / "images" / ("cat", "dog")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pictures(1, (36 + k % 3, 40, 3), seed=k)[0])
        image.convert(("RGB", "L")[k % 5 == 0]).save(folder / f"{k}.png")


def medmnist(home):
    counts = {"train": 4708, "val": 524, "test": 624}
    arrays = {f"{n}_images": pictures(c, (28, 28), seed=c) for n, c in counts.items()}
    arrays |= {f"{n}_labels": np.arange(c)[:, None] % 2 for n, c in counts.items()}
    np.savez(home / "pneumoniamnist.npz", **arrays)


def breast_cancer(home):
    program = runpy.run_path(str(STUDIES / "write_breast_cancer.py"))
    program["write"](home / "breast_cancer.csv")


DATA = {
    "own_images": own_images,
    "medical_private": medmnist,
    "breast_cancer": breast_cancer,
}
"""Data that lie beside a study."""


@pytest.fixture(scope="session")
def fashion_folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("fashion") / "idx"
    fashion(home)
    return home


@pytest.fixture
def beside(request, tmp_path, monkeypatch):
    """A copy of a study with its data, for a person who works somewhere else."""
    place = tmp_path / "mine"
    place.mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def made(path):
        shutil.copy(path, place)
        if "fashion" in path.stem:
            folder = request.getfixturevalue("fashion_folder")
            monkeypatch.setenv("MOC_DATA", str(folder))
        elif path.stem in DATA:
            DATA[path.stem](place)
        return place / path.name

    return made


@pytest.mark.parametrize(("path", "profile"), CASES)
def test_every_study_can_run(beside, path, profile):
    study, options = beside(path), ["--profile", profile] if profile else []
    done = CliRunner().invoke(app, ["check", str(study), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    config = load_config(study, profile=profile)
    assert f"{config.name} can run" in done.output
    assert not list(Path.cwd().iterdir())


def test_the_newcomers_studies_are_among_them():
    assert DATA.keys() | {"digits", "digits_robust"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_study_begins_with_words_for_whoever_opens_it(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert load_config(path).name.replace("-", "_") == path.stem


@pytest.mark.parametrize("name", [*DATA, "digits_robust"])
def test_a_small_version_runs_to_its_end(beside, tmp_path, name):
    study = beside(STUDIES / f"{name}.toml")
    tables = load_config(study).model_dump(mode="json")
    tables["condense"] |= {"steps": 2}
    tables["teacher"] |= {"steps": 2}
    tables["data"] |= {"validation": 60, "test": 60}
    tables["evaluate"] |= {"replicates": 1, "report_replicates": 1, "report_suite": "fast"}
    tables["evaluate"]["protocol"] |= {"epochs": 1}
    if name != "breast_cancer":
        tables["evaluate"]["protocol"] |= {"network": "convnet2-w8-half"}
        tables["evidence"] |= {"networks": ["convnet2-w8-half"]}
        tables["teacher"] |= {"network": "convnet2-w8-half"}
    tables["search"] |= {"trials": 1, "batch": 1}
    tables["executor"] |= {"workers": 1}
    if tables["privacy"]:
        tables["privacy"] |= {"epsilons": [8.0]}
        tables["rounds"][0] |= {"count": 2}
        tables["evidence"] |= {"steps": 2, "images_per_class": 20}
    record = run_study(parse_config(json.loads(json.dumps(tables)), where="test"), tmp_path / name)
    assert record.complete
    assert record.front
    assert (record.delta is not None) == ("private" in name)
