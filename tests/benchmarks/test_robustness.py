"""The command behind the robustness section of RESULTS.md does what it says, and resumes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ledgers import rewrite_settings
from robustness import REFERENCE, main, parse
from robustness_cells import Cell, Store, columns, measure, spread, table
from robustness_subjects import parts

from moc.attacks.threat import Threat
from moc.data import DataInfo, SyntheticSet, one_hot
from moc.data.storage import save_set
from moc.evaluate.robust import Robustness
from moc.evaluate.suites import FastSuite
from moc.networks.architectures import parse_network
from moc.networks.network import build
from moc.study.config import load_config

SMALL = [
    "--source",
    "digits",
    "--epochs",
    "2",
    "--reference-steps",
    "2",
    "--records",
    "12",
    "--per-class",
    "2",
]
QUICK = [*SMALL, "--records-full", "6", "--networks", "1", "--tiers", "clean", "fast"]
CELL = Cell(
    subject="a",
    recipe="r",
    protocol="p",
    architecture="linear",
    training="plain",
    tier="fast",
    budgets=("0.05", "0.1"),
    records=9,
    seed=0,
    number=0,
)


def study_of(folder):
    """A study that condensed one set of nine records of noise."""
    folder.mkdir()
    config = load_config(Path(__file__).parents[2] / "studies" / "digits_open.toml")
    rewrite_settings(folder, config)
    classes = tuple("0123456789")
    info = DataInfo(name="digits", shape=(1, 8, 8), classes=classes, count=9)
    noise = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    stored = SyntheticSet(info=info, x=noise, labels=one_hot(torch.arange(9), 10))
    save_set(stored, folder / "sets" / "trial-000.safetensors")
    return config


def test_a_run_measures_every_cell_once_and_a_killed_one_goes_on(tmp_path, capsys):
    out, file = str(tmp_path / "out"), tmp_path / "out" / "cells.jsonl"
    extra = ["--architectures", "linear", "--adversarial-training"]
    main(["--out", out, *QUICK, *extra])
    first = capsys.readouterr().out
    lines = file.read_text().splitlines()
    # Five sets in three ways and the reference in one, each clean and attacked.
    assert len(lines) == 5 * 3 * 2 + 2
    assert len({json.dumps(json.loads(line)["cell"]) for line in lines}) == len(lines)
    for row in ("random real", "smoothed labels", "robust-feature inversion", REFERENCE):
        assert f"\n| {row} |" in first
    assert "| transfer to | linear clean | linear 0.1 fast |" in first
    assert "| adversarial training on S | convnet2-w32 clean | convnet2-w32 0.1 fast |" in first
    suite = "fast (fgsm-1, pgd-ce-20, pgd-margin-20, square-100; 12"
    assert f"within Linf 8/255 and 0.1: {suite}" in first

    main(["--out", out, *QUICK, *extra])
    again = capsys.readouterr()
    assert again.out == first
    assert again.err == "", "nothing is measured twice"

    file.write_text("\n".join(lines[:-3]) + "\n" + lines[-3][:40])
    main(["--out", out, *QUICK, *extra])
    assert capsys.readouterr().out == first, "what was lost is measured to the same numbers"


def test_stored_sets_are_measured_on_the_records_that_their_study_reserved(tmp_path, capsys):
    config = study_of(tmp_path / "study")
    options = ["--out", str(tmp_path / "out"), *QUICK, "--no-controls"]
    options += ["--study", str(tmp_path / "study"), "trial-000", "--copies", "3"]
    found = parts(parse(options))
    assert (len(found["train"]), len(found["test"])) == (1197, config.data.test)
    main(options)
    printed = capsys.readouterr().out
    for row in ("study trial-000", "random real"):
        assert f"\n| {row} |" in printed
        assert f"\n| {row}, 3 copies |" in printed
    assert f"clean on all {config.data.test}" in printed
    assert REFERENCE + " |" not in printed


def test_a_cell_is_found_by_everything_that_decides_it(tmp_path):
    store = Store(tmp_path / "cells.jsonl")
    store.add(CELL, [0.5, 0.25], 1.0)
    store = Store(tmp_path / "cells.jsonl")
    assert store.find(CELL) == [0.5, 0.25]
    for change in ({"recipe": "s"}, {"budgets": ("0.1",)}, {"records": 8}, {"number": 1}):
        assert store.find(replace(CELL, **change)) is None


def test_columns_collect_the_networks_of_a_set(tmp_path):
    store = Store(tmp_path / "cells.jsonl")
    cells = [replace(CELL, number=number) for number in range(3)]
    for cell, shares in zip(cells, ([0.5, 0.25], [0.7, 0.35]), strict=False):
        store.add(cell, shares, 1.0)
    found = columns(store, cells)
    assert found["a", "linear", "plain", "fast", "0.1"] == [0.25, 0.35]
    assert found["a", "linear", "plain", "fast", "0.05"] == [0.5, 0.7]
    shown = table(["set", "x", "y"], [("a", [found["a", "linear", "plain", "fast", "0.1"], []])])
    assert shown.splitlines() == [
        "| set | x | y |",
        "|---|---:|---:|",
        "| a | 30.0 ± 7.1 | - |",
    ]
    assert spread([0.123]) == "12.3"


def records(n):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % 10


def network():
    classes = tuple("0123456789")
    info = DataInfo(name="any", shape=(1, 8, 8), classes=classes, count=9)
    return build(parse_network("mlp1-w32"), info, seed=0)


def test_tiers_are_the_suites_of_moc():
    x, _ = records(40)
    y = network()(x).argmax(1)
    y[:10] = (y[:10] + 1) % 10
    threats = [Threat(eps=0.005), Threat(eps=0.02)]
    clean, _ = measure(network(), x, y, tier="clean", threats=threats, seed=3)
    found, seconds = measure(network(), x, y, tier="fast", threats=threats, seed=3)
    attacked = Robustness(model=network(), suite=FastSuite(), threat=threats[0], classes=10, seed=3)
    alone = attacked.result(x, y)
    assert clean == [0.75]
    assert found[0] == float(alone.robust.float().mean())
    assert 0.75 > found[0] > found[1]
    assert seconds > 0


@pytest.mark.slow
def test_the_official_tier_agrees_with_the_full_one():
    pytest.importorskip("pyautoattack")
    x, _ = records(100)
    y, state = network()(x).argmax(1), torch.get_rng_state()
    options = {"threats": [Threat(eps=0.01)], "seed": 0}
    full, _ = measure(network(), x, y, tier="full", **options)
    official, _ = measure(network(), x, y, tier="official", **options)
    assert 0.1 < full[0] < 0.9
    assert abs(full[0] - official[0]) <= 0.01
    assert torch.equal(state, torch.get_rng_state())
