"""A folder of images, a few commands, and a network trained by somebody who does not have moc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[1]
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
augmentation = "none"
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

def block(channels):
    return [nn.Conv2d(channels, 16, 3, padding=1), nn.GroupNorm(16, 16), nn.ReLU(), nn.AvgPool2d(2)]

def accuracy(seed):  # as the card says that networks were trained
    torch.manual_seed(seed)
    net = nn.Sequential(*block(1), *block(16), nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 76)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()
        schedule.step()
    return (net.eval()(scale(real["x"])).argmax(1).numpy() == real["y"]).mean()

assert not [name for name in sys.modules if name.split(".")[0] == "moc"]
print(*(accuracy(seed) for seed in range(3)))
"""
PROTOCOL = (
    "convnet2-w16 from fresh weights, 150 epochs of SGD (learning rate 0.1, a tenth of it from "
    "epoch 77 on; momentum 0.9, weight decay 0.0005, batches of 256), unaugmented"
)
"""What the card says, and the stranger does."""


def run(*command, folder):
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def moc_command(tmp_path):
    """`moc` from a wheel, in an environment of its own; what moc needs is lent to it."""
    wheels, home = tmp_path / "wheels", tmp_path / "environment"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "-w", wheels, ROOT, folder=tmp_path)
    venv.create(home, symlinks=True, with_pip=False)
    python = home / "bin" / "python"
    (wheel,) = wheels.glob("moc_condensation-*.whl")
    run(*pip, "--python", python, "install", "--no-deps", wheel, folder=tmp_path)
    (site,) = home.glob("lib/python3.*/site-packages")
    lent = [place for place in sys.path if place.endswith("site-packages")]
    (site / "lent.pth").write_text("\n".join(lent) + "\n")
    where = run(python, "-c", "import moc; print(moc.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(home)
    return home / "bin" / "moc"


@pytest.mark.newcomer
@pytest.mark.timeout(600)
def test_from_a_folder_of_images_to_a_network_without_moc(moc_command, tmp_path):
    here = tmp_path / "fresh"
    pixels, y = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8)
    for k in range(1200):
        home = here / "images" / f"digit {y[k]}"
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[k]).save(home / f"{k}.png")
    np.savez(tmp_path / "rest.npz", x=images[1200:, None] / np.float32(255), y=y[1200:])

    seen = run(moc_command, "inspect", "images", folder=here)
    assert "train: 1200 records" in seen
    table = seen[seen.index("[data]") :].replace("test = 200", "test = 100")  # AutoAttack is slow
    assert "test = 100" in table
    (here / "own.toml").write_text(STUDY.format(data=table))
    assert "own can run" in run(moc_command, "check", "own.toml", folder=here)
    run(moc_command, "study", "own.toml", "--no-mlflow", "--quiet", folder=here)
    assert "P on front" in " ".join(run(moc_command, "front", folder=here).split())
    assert (here / "runs" / "own" / "report.html").stat().st_size > 1e6
    typed = ("--prefer", "error", "--no-mlflow", "--png")
    chosen = run(moc_command, "choose", "own", *typed, folder=here)
    assert "Confirmed by" in chosen
    folder = here / "runs" / "own" / "policy"
    verified = run(moc_command, "verify", folder, folder=here)
    assert "is as it was written" in verified
    assert "Every score was measured again within 3 standard errors." in verified
    assert len(list((folder / "png" / "3-digit_3").iterdir())) == 10

    card = json.loads((folder / "card.json").read_text())
    assert card["protocol"].startswith(PROTOCOL)
    stranger = run(sys.executable, "-I", "-c", STRANGER, folder, tmp_path / "rest.npz", folder=here)
    found = np.array([float(word) for word in stranger.split()])
    # A point of a curve that the search did not try has been measured by its confirmation alone.
    mean, se = (card["scores"]["test"] or card["confirmation"]["scores"])["error"]
    own = found.var(ddof=1) / len(found) + found.mean() * (1 - found.mean()) / (len(y) - 1200)
    assert found.mean() > 0.8
    assert abs(found.mean() - (1 - mean)) <= 3 * np.sqrt(se**2 + own)
