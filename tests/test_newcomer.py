"""A folder of images, five commands, and a network trained by somebody who does not have moc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import moc

STUDY = """
name = "own"
threads = 1
{data}
[objectives]
error = {{ discrepancy = "ridge-risk" }}
robust_error = {{}}
[evidence]
kind = "samples"
networks = ["convnet2-w16"]
[condense]
images_per_class = 10
steps = 150
[teacher]
network = "convnet2-w8"
steps = 20
[evaluate]
replicates = 1
report_replicates = 2
[evaluate.protocol]
kind = "fast"
network = "convnet2-w16"
[search]
engine = "sobol"
trials = 2
batch = 2
"""
STRANGER = """
import runpy, sys
import numpy as np, torch
from torch import nn
set_ = runpy.run_path(sys.argv[1] + "/load.py")
scale = lambda x: torch.from_numpy(((x - set_["mean"]) / set_["std"]).astype(np.float32))
x, labels = scale(set_["x"]), torch.from_numpy(set_["labels"])
real = np.load(sys.argv[2])
torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(net.parameters(), 3e-3)
for _ in range(300):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), labels).backward()
    optimizer.step()
right = net(scale(real["x"])).argmax(1).numpy() == real["y"]
assert not [name for name in sys.modules if name.split(".")[0] == "moc"]
print(right.mean())
"""


def run(*command, folder, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_from_a_folder_of_images_to_a_network_without_moc(tmp_path):
    pixels, y = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8)
    for k in range(1200):
        home = tmp_path / "images" / f"digit {y[k]}"
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[k]).save(home / f"{k}.png")
    np.savez(tmp_path / "rest.npz", x=images[1200:, None] / np.float32(255), y=y[1200:])
    here = {"folder": tmp_path, "PYTHONPATH": str(Path(moc.__file__).parents[1])}

    seen = run("-m", "moc.cli", "inspect", "images", **here)
    assert "train: 1200 records" in seen
    table = seen[seen.index("[data]") :]
    (tmp_path / "own.toml").write_text(STUDY.format(data=table))
    run("-m", "moc.cli", "study", "own.toml", "--no-mlflow", "--quiet", **here)
    typed = ("--prefer", "error", "--no-mlflow", "--png")
    run("-m", "moc.cli", "choose", "own", *typed, **here)
    folder = tmp_path / "runs" / "own" / "policy"
    assert "is as it was written" in run("-m", "moc.cli", "verify", folder, **here)
    assert len(list((folder / "png" / "3-digit_3").iterdir())) == 10

    card = json.loads((folder / "card.json").read_text())
    mean, se = card["scores"]["test"]["error"]
    accuracy = float(run("-I", "-c", STRANGER, folder, tmp_path / "rest.npz", folder=tmp_path))
    assert accuracy > 0.75
    assert accuracy > 1 - mean - 3 * se - 0.1  # another network, on other records
