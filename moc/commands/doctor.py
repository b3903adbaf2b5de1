"""What moc finds on this machine."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from moc import __version__
from moc.data.sources.idx import find_fashion_mnist
from moc.errors import DataError
from moc.views.mlflow import default_uri

_PACKAGES = {
    "torch": "networks",
    "opacus": "privacy accounting",
    "opendp": "the hardened noise tier",
    "torchattacks": "attacks",
    "mlflow": "tracking and comparison",
    "botorch": "the Bayesian engine",
    "pymoo": "the evolutionary engines",
    "moocore": "hypervolumes",
    "scikit-learn": "digits and baselines",
    "pandas": "tables",
    "pyarrow": "Parquet",
}
_HINTS = {"torchattacks": "pip install --no-deps torchattacks==3.5.1"}
_SPACE = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Found:
    """One finding; `well` is false for what moc cannot do without."""

    well: bool
    words: str


def examine() -> list[Found]:
    """Versions, device, data, disk and tracking, with what to type where something is missing."""
    there = Found(
        well=True,
        words=f"moc {__version__}, Python {platform.python_version()}, {platform.platform()}",
    )
    needed = [_package(name, purpose) for name, purpose in _PACKAGES.items()]
    return [there, *needed, *map(_extra, _EXTRAS), *_machine()]


def _package(name: str, purpose: str) -> Found:
    try:
        return Found(well=True, words=f"{name} {version(name)} ({purpose})")
    except PackageNotFoundError:
        hint = _HINTS.get(name, f"pip install -c constraints.txt {name}")
        words = f"{name}, for {purpose}: type {hint}"
        return Found(well=False, words=words)


_EXTRAS = {"datasets": "Hugging Face data sets"}
"""Packages that moc does without, and what they are for."""


def _extra(name: str) -> Found:
    found = _package(name, _EXTRAS[name])
    if found.well:
        return found
    hint = "pip install 'moc-condensation[hf]'"
    return Found(well=True, words=f"no {name}; needed only for {_EXTRAS[name]}: {hint}")


def _machine() -> Iterator[Found]:
    try:
        import torch

        cuda = torch.cuda.is_available()
        device = torch.cuda.get_device_name() if cuda else "no GPU; studies run on the CPU"
        yield Found(well=True, words=f"device: {device}, {os.cpu_count()} processor cores")
    except ImportError as error:
        yield Found(well=False, words=f"torch cannot be loaded: {error}")
    try:
        yield Found(well=True, words=f"Fashion-MNIST in {find_fashion_mnist()}")
    except DataError:
        hint = "only for its studies: apt-get install dataset-fashion-mnist, or set MOC_DATA"
        yield Found(well=True, words=f"no Fashion-MNIST; needed {hint}")
    free, here = shutil.disk_usage(Path.cwd()).free, os.access(Path.cwd(), os.W_OK)
    words = f"{free / 1e9:.0f} GB free in {Path.cwd()}, which {'can' if here else 'cannot'} be"
    hint = "" if free > _SPACE and here else ": go to a folder on a disk with more room"
    yield Found(well=free > _SPACE and here, words=f"{words} written to{hint}")
    yield Found(well=True, words=f"MLflow keeps runs in {default_uri()}")
