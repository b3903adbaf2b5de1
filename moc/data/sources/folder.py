"""A folder of image files, one sub-folder for each class."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from typing_extensions import override

from moc.data.arrays import to_real
from moc.data.sources.base import Section, Source, UserPath
from moc.data.vault import RealData
from moc.errors import DataError

_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}


class Folder(Source):
    """Image files, one sub-folder a class.

    Attributes:
        path: The folder.
    """

    kind: Literal["folder"] = "folder"
    path: UserPath

    @override
    def read(self, section: Section) -> RealData:
        return load_folder(self.path)


def load_folder(path: Path) -> RealData:
    """Load images from one sub-folder for each class, in alphabetical order of the classes.

    Names of sub-folders, and so the list of classes, count as public. Hidden files are skipped;
    everything else must be an image, grey or RGB, and all images must be alike in both that and
    their size. There is no test part: use `RealData.split`.

    Raises:
        DataError: If there are fewer than two sub-folders, one of them is empty, or an image
            cannot be read or differs from the first one; names the first such file.
    """
    if not path.is_dir():
        raise DataError(f"A folder with one sub-folder for each class expected at {path}.")
    folders = [entry for entry in _visible(path) if entry.is_dir()]
    if len(folders) < 2:
        raise DataError(
            f"At least two sub-folders, one for each class, expected in {path}, "
            f"found {len(folders)}."
        )
    images: list[np.ndarray] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        files = _visible(folder)
        if not files:
            raise DataError(f"Images expected in {folder}, found none; fill or remove it.")
        for file in files:
            images.append(_read(file))
            _check_alike(images[0], images[-1], file)
        labels += [label] * len(files)
    name = path.resolve().name
    classes = tuple(folder.name for folder in folders)
    return to_real(name, np.stack(images), np.array(labels), classes=classes)


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _read(file: Path) -> np.ndarray:
    """Read an image as uint8 (H, W), or (H, W, 3)."""
    try:
        with Image.open(file) as image:
            mode = image.mode
            if mode in _MODES:
                return np.asarray(image.convert(_MODES[mode]))
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image; mend or remove it.") from error
    raise DataError(f"{file}: a grey or RGB image expected, found mode {mode}; convert it.")


def _check_alike(first: np.ndarray, image: np.ndarray, file: Path) -> None:
    if image.shape != first.shape:
        raise DataError(
            f"All images must be of one size, and all grey or all RGB: the first one is "
            f"{_describe(first)}, {file} is {_describe(image)}. Convert them to be alike."
        )


def _describe(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]} {'grey' if image.ndim == 2 else 'RGB'}"
