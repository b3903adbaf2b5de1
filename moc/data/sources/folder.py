"""A folder of image files, one sub-folder for each class."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps
from pydantic import Field
from typing_extensions import override

from moc.data.arrays import to_real
from moc.data.sources.base import Section, Source, UserPath
from moc.data.vault import RealData
from moc.errors import DataError

_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}
_CONVERTED = {"grey": "L", "rgb": "RGB"}
_CONVERTIBLE = (*_MODES, "LA", "PA", "RGBA", "CMYK", "YCbCr")
_SECTIONS: dict[Section, str] = {"train": "train", "validation": "val", "test": "test"}


class Folder(Source):
    """Image files, one sub-folder a class; or such folders `train` and `test`, and perhaps `val`.

    Attributes:
        path: The folder.
        size: Pixels a side: every image is scaled until its shorter side has them, and cut to the
            middle of the longer one. If left out, all images must be of one size.
        colours: `grey` or `rgb`: every image is converted, transparency dropped. If left out, all
            images must be alike.
    """

    kind: Literal["folder"] = "folder"
    path: UserPath
    size: int | None = Field(default=None, gt=0)
    colours: Literal["grey", "rgb"] | None = None

    @classmethod
    @override
    def guess(cls, path: Path) -> Source | None:
        if not path.is_dir() or len(_folders(path)) < 2:
            return None
        first = next((f for home in _folders(path) for f in home.rglob("*.*") if f.is_file()), None)
        try:
            with Image.open(first or path):
                return cls(path=path)
        except OSError:
            return None

    @override
    def proposed(self) -> Source:
        sizes, modes = set[tuple[int, int]](), set[str]()
        for file in self.path.rglob("*/*"):
            if file.is_file() and not file.name.startswith("."):
                _note(file, sizes, modes)
        size, colours = rule_for(sizes, modes)
        return self.but(size=self.size or size, colours=self.colours or colours)

    @property
    @override
    def has_test(self) -> bool:
        return _is_divided(self.path)

    @property
    @override
    def has_validation(self) -> bool:
        return self.has_test and (self.path / _SECTIONS["validation"]).is_dir()

    @override
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        return load_folder(self.path, part=section, size=self.size, colours=self.colours)


def load_folder(
    path: Path,
    *,
    part: Section = "train",
    size: int | None = None,
    colours: Literal["grey", "rgb"] | None = None,
) -> RealData:
    """Load images from one sub-folder for each class, in alphabetical order of the classes.

    Names of sub-folders, and so the list of classes, count as public. Hidden files are skipped;
    everything else must be an image, grey or RGB, and all images must be alike in both that and
    their size, or are made so by `size` and `colours`; see `Folder`.

    Raises:
        DataError: If there are fewer than two sub-folders, one of them is empty, or an image
            cannot be read or differs from the first one; names the first such file.
    """
    if not path.is_dir():
        raise DataError(f"A folder with one sub-folder for each class expected at {path}.")
    divided = _is_divided(path)
    homes = [h for n in _SECTIONS.values() if (h := path / n).is_dir()] if divided else [path]
    classes = tuple(sorted({folder.name for home in homes for folder in _folders(home)}))
    if len(classes) < 2:
        raise DataError(
            f"At least two sub-folders, one for each class, expected in {path}, "
            f"found {len(classes)}."
        )
    images: list[np.ndarray] = []
    labels: list[int] = []
    home = path / _SECTIONS[part] if divided else path
    for folder in _folders(home):
        files = _visible(folder)
        if not files:
            raise DataError(f"Images expected in {folder}, found none; fill or remove it.")
        for file in files:
            images.append(_read(file, size, colours))
            check_alike(images[0], images[-1], str(file))
        labels += [classes.index(folder.name)] * len(files)
    if not images:
        raise DataError(f"One sub-folder for each class expected in {home}, found none.")
    return to_real(path.resolve().name, np.stack(images), np.array(labels), classes=classes)


def rule_for(
    sizes: set[tuple[int, int]], modes: set[str]
) -> tuple[int | None, Literal["grey", "rgb"] | None]:
    """The size and colours that would make such images alike, where they need it."""
    alike = len({_MODES.get(mode, mode) for mode in modes}) == 1 and modes <= _MODES.keys()
    grey = modes <= {"1", "L", "LA"}
    size = None if len(sizes) < 2 else min(map(min, sizes))
    return size, None if alike else ("grey" if grey else "rgb")


def _is_divided(path: Path) -> bool:
    """Whether there are folders `train` and `test` of classes, instead of classes."""
    return all((path / name).is_dir() and _folders(path / name) for name in ("train", "test"))


def _folders(path: Path) -> list[Path]:
    return [entry for entry in _visible(path) if entry.is_dir()]


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _note(file: Path, sizes: set[tuple[int, int]], modes: set[str]) -> None:
    """Note size and mode of an image; what is none is named when it is read."""
    try:
        with Image.open(file) as image:
            sizes.add(image.size)
            modes.add(image.mode)
    except OSError:
        return


def _read(file: Path, size: int | None, colours: str | None) -> np.ndarray:
    """Read an image as uint8 (H, W), or (H, W, 3)."""
    try:
        with Image.open(file) as image:
            return pixels_of(image, str(file), size=size, colours=colours)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image; mend or remove it.") from error


def pixels_of(
    image: Image.Image, where: str, *, size: int | None, colours: str | None
) -> np.ndarray:
    """An image as uint8 (H, W), or (H, W, 3); see `Folder` for `size` and `colours`.

    Raises:
        DataError: If it is neither grey nor RGB, and `colours` does not say what to make of it.
    """
    mode = image.mode
    wanted = _CONVERTED[colours] if colours and mode in _CONVERTIBLE else _MODES.get(mode)
    if wanted:
        plain = image.convert(wanted)
        return np.asarray(ImageOps.fit(plain, (size, size)) if size else plain)
    raise DataError(
        f"{where}: a grey or RGB image expected, found mode {mode}; convert it, or write colours = "
        '"grey" or "rgb" where transparency may be dropped.'
    )


def check_alike(first: np.ndarray, image: np.ndarray, where: str) -> None:
    """Refuse an image of another size or form than the first one.

    Raises:
        DataError: If it differs.
    """
    if image.shape != first.shape:
        raise DataError(
            f"All images must be of one size, and all grey or all RGB: the first one is "
            f"{_describe(first)}, {where} is {_describe(image)}. Convert them to be alike, or "
            'say what to make of them, such as size = 32 and colours = "rgb".'
        )


def _describe(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]} {'grey' if image.ndim == 2 else 'RGB'}"
