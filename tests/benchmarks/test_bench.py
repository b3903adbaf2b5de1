"""`make bench` measures what it says, writes both files, and compares with an earlier run."""

from __future__ import annotations

import json

import pytest
import torch
from bench import main
from bench_rows import growth
from bench_things import samples, steps_of

from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean

TINY = ["--repeats", "2", "--real", "20", "--width", "4", "--attacked-width", "4"]
TINY += ["--together", "1", "2", "--records", "20"]


def test_every_row_is_written_with_its_spread_and_its_ratio_to_a_baseline(tmp_path, capsys):
    main(["--rows", "front", "dm-step", "attacked-step", *TINY, "--out", str(tmp_path / "first")])
    first = json.loads((tmp_path / "first.json").read_text())
    assert len(first["rows"]) == 4
    for row in first["rows"]:
        assert row["least"] <= row["median"] <= row["largest"]
        assert len(row["ours"]) == 2
        assert len(row["others"]) in (0, 2)
    for row in first["rows"]:
        row["ours"], row["median"] = [], 2 * row["median"]
    (tmp_path / "before.json").write_text(json.dumps(first))
    before = ["--baseline", str(tmp_path / "before.json")]
    main(["--rows", "dm-step", *TINY, *before, "--out", str(tmp_path / "second")])
    (row,) = json.loads((tmp_path / "second.json").read_text())["rows"]
    assert row["over_baseline"] == pytest.approx(first["rows"][1]["median"] / row["median"])
    assert (tmp_path / "second.md").read_text() in capsys.readouterr().out


def test_a_step_is_timed_without_what_comes_before_and_after():
    evidence = samples("convnet1-w2", "cpu", batch=4)
    loss, calls = Generalization(FeatureMean()), []
    ours, others = steps_of(evidence, loss, 2, 3, peer=lambda: calls.append(0))
    assert len(ours) == len(others) == 3
    assert len(calls) == 4  # the first warms up
    assert all(one >= 0 for one in ours)
    assert torch.get_num_threads() == 1


def test_the_memory_of_a_pass_is_that_of_a_process_of_its_own():
    assert 0 <= growth(600) < 5
