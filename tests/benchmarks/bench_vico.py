"""One step of distribution matching as its authors' `main_DM.py` takes it, from a checkout."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

STRATEGY = "color_crop_cutout_flip_scale_rotate"
SET = 10
"""Synthetic images of each class."""


def vico_step(checkout: Path, width: int, real: int, device: str) -> Callable[[], None]:
    """One pass through the body of that loop, on random images of 28 x 28 pixels.

    Args:
        checkout: VICO-UoE/DatasetCondensation; `utils.py` and `networks.py` are run.
        width: Channels of its ConvNet-3, which it has 128 of.
        real: Real images a class.
        device: Where.
    """
    utils = _utils(checkout)
    utils.get_default_convnet_setting = lambda: (width, 3, "relu", "instancenorm", "avgpooling")
    param = utils.ParamDiffAug()
    images = torch.rand(10 * real, 1, 28, 28, device=device)
    synthetic = torch.rand(10 * SET, 1, 28, 28, device=device, requires_grad=True)
    optimiser = torch.optim.SGD([synthetic], lr=1.0, momentum=0.5)

    def step() -> None:
        features = utils.get_network("ConvNet", 1, 10, (28, 28)).to(device).train().features
        loss = torch.zeros((), device=device)
        for k in range(10):
            seed = int(time.time() * 1000) % 100_000
            order = torch.randperm(real)
            shown = images[k * real : (k + 1) * real][order.to(device)]
            shown = utils.DiffAugment(shown, STRATEGY, seed=seed, param=param)
            own = synthetic[k * SET : (k + 1) * SET]
            own = utils.DiffAugment(own, STRATEGY, seed=seed, param=param)
            with torch.no_grad():
                there = features(shown).flatten(1)
            loss = loss + (there.mean(0) - features(own).flatten(1).mean(0)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def _utils(checkout: Path) -> ModuleType:
    """Its module, with stand-ins for what it imports to load data, where that is not installed."""
    for name, attributes in {
        "torchvision": ("datasets", "transforms"),
        "scipy.ndimage.interpolation": ("rotate",),
        "tqdm": ("tqdm",),
    }.items():
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = ModuleType(name)
            for attribute in attributes:
                setattr(sys.modules[name], attribute, None)
    sys.path.insert(0, str(checkout.resolve()))
    try:
        return importlib.import_module("utils")
    finally:
        sys.path.pop(0)
