"""`make gpu` resumes, keeps what was found, and says what failed or ran out of time."""

from __future__ import annotations

import json
import sys

import gpu
import profile_gpu
import pytest
import standard_rows
import torch
import torch.nn.functional as F
from bench_things import Operations
from gpu import Slice, main


@pytest.fixture
def pieces(monkeypatch, tmp_path):
    """Three quick slices; each leaves a mark when it runs."""

    def piece(name, code):
        note = f"import sys; open({str(tmp_path / 'ran')!r}, 'a').write({name!r}); "
        return Slice(name=name, command=(sys.executable, "-c", note + code, "{out}"))

    ready = tmp_path / "ready"
    found = [
        piece("a", "open(sys.argv[1], 'w').write('{\"x\": 1}')"),
        piece("b", f"import os; sys.exit(0 if os.path.exists({str(ready)!r}) else 3)"),
        piece("c", "print('said')"),
    ]
    monkeypatch.setattr(gpu, "slices", lambda _: found)
    return ready


def test_what_failed_is_done_again_and_what_is_done_is_not(pieces, tmp_path):
    out = tmp_path / "gpu.json"
    options = ["--small", "--out", str(out)]
    assert main(options) == 1
    report = json.loads(out.read_text())["slices"]
    assert [report[name]["rc"] for name in "abc"] == [0, 3, 0]
    assert report["a"]["found"] == {"x": 1}
    assert report["c"]["output"] == "said\n"
    pieces.touch()
    assert main(options) == 0
    assert (tmp_path / "ran").read_text() == "abcb"
    assert main(options) == 0
    assert (tmp_path / "ran").read_text() == "abcb"


def test_a_run_at_its_limit_says_that_there_is_more(pieces, tmp_path):
    pieces.touch()
    out = tmp_path / "gpu.json"
    assert main(["--small", "--out", str(out), "--limit", "0"]) == 75
    assert not out.exists()
    slow = Slice(name="slow", command=(sys.executable, "-c", "import time; time.sleep(60)"))
    assert gpu.run(slow, limit=0.5, small=True)["rc"] == 124


def test_the_file_of_another_device_is_left_alone(pieces, tmp_path):
    out = tmp_path / "gpu.json"
    out.write_text(json.dumps({"device": "another", "slices": {}}))
    with pytest.raises(SystemExit, match="another"):
        main(["--small", "--out", str(out)])


def test_every_row_and_the_tests_have_a_slice():
    names = [one.name for one in gpu.slices("cuda")]
    assert names[0] == "tests"
    assert {"bench dm-step", "standard dm-sums, seed 0", "standard m3d, seed 2"} <= set(names)
    assert not any("--small" in one.command for one in gpu.slices("cuda"))


@pytest.mark.parametrize("kind", standard_rows.KINDS)
def test_a_row_runs_in_its_small_form_and_says_what_the_whole_would_cost(kind, tmp_path):
    out = tmp_path / "row.json"
    options = [kind, "--small", "--device", "cpu", "--out", str(out)]
    standard_rows.main(options)
    assert 0 < json.loads(out.read_text())["error"] < 1
    standard_rows.main([*options, "--cost"])
    cost = json.loads(out.read_text())
    assert cost["seconds to train one network"] > 0
    assert cost["seconds to make"] > cost["seconds a step"] >= 0


def test_the_profile_says_what_computes_how_long(tmp_path, monkeypatch):
    monkeypatch.setattr(profile_gpu, "TURNS", 1)
    out = tmp_path / "profile.json"
    profile_gpu.main(["--small", "--device", "cpu", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found[0]["work"] == "a DM step"
    assert len(found) == 5
    for one in found:
        assert one["seconds a step"] > 0
        assert one["kernels a step"] > 1
        assert one["of which the card computes"] > 0
        assert len(one["most"]) == profile_gpu.TOP


def test_operations_are_those_of_the_formula():
    x, weight = torch.rand(3, 8, 6, 6, requires_grad=True), torch.rand(16, 4, 3, 3)
    weight.requires_grad_()
    with Operations() as found:
        y = F.conv2d(x, weight, padding=1, groups=2).flatten(1) @ torch.ones(576, 2)
        forward = found.floating
        y.sum().backward()
    once = 2 * 3 * 16 * 36 * (4 * 9)
    product = 2 * 3 * 576 * 2
    assert forward == once + product
    assert found.floating == 3 * once + 2 * product
    assert found.count > 5
