"""The 8 x 8 handwritten digits that scikit-learn carries: no download, trained on in seconds."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from typing_extensions import override

from moc.data.arrays import to_real
from moc.data.sources.base import Section, Source
from moc.data.vault import RealData


class Digits(Source):
    """scikit-learn's digits; embedded."""

    kind: Literal["digits"] = "digits"
    published: ClassVar = ("classes", "mean", "std")
    records: ClassVar = {"train": 1797}

    @override
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        return load_digits()


def load_digits() -> RealData:
    """Load 1797 grey 8 x 8 images of ten digits (UCI optical recognition of handwritten digits).

    Pixels 0..16 are divided by 16. Mean 0.3053 and standard deviation 0.3761 are rounded constants
    of this public data set, so they may be used in private studies too. There is no test part:
    use `RealData.split`.
    """
    from sklearn.datasets import load_digits as read

    pixels, labels = read(return_X_y=True)
    return to_real(
        "digits",
        np.asarray(pixels, dtype=np.float32).reshape(-1, 8, 8) / 16,
        np.asarray(labels),
        classes=tuple("0123456789"),
        mean=0.3053,
        std=0.3761,
    )
