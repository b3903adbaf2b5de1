"""Records from Python: arrays, and the data sets of torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from moc.data.arrays import scaled, to_real
from moc.data.labels import class_labels
from moc.data.vault import RealData
from moc.errors import DataError


def from_arrays(
    x: Any,  # noqa: ANN401 - whatever NumPy reads
    y: Any,  # noqa: ANN401
    *,
    name: str = "arrays",
    classes: tuple[str, ...] | None = None,
    bounds: tuple[float, float] | None = None,
    mean: float = 0.5,
    std: float = 0.5,
    mirrored: bool = False,
) -> RealData:
    """Seal labelled arrays, lists or tensors as a real data set T.

    Args:
        x: Records (n, H, W), (n, H, W, C) or (n, C, H, W), 1 or 3 channels, or vectors (n, D);
            uint8, or floats in [0, 1].
        y: Labels (n,): whole numbers from any base, or words; or one-hot rows (n, classes).
        name: What to call it.
        classes: Their names, declared; the labels that are used, in order, if left out.
        bounds: Values that stand for 0 and 1, where records are of other numbers.
        mean: Public normalisation mean of every channel, in [0, 1] units.
        std: Public normalisation standard deviation, likewise.
        mirrored: Whether a horizontal flip keeps an image in its class.

    Raises:
        DataError: If anything is not as described.
    """
    where = f"Data set {name!r}"
    (labels,), classes = class_labels([_array(y, where)], where=where, classes=classes)
    records = scaled(_array(x, where), bounds, where=where)
    return to_real(name, records, labels, classes=classes, mean=mean, std=std, mirrored=mirrored)


def from_dataset(dataset: Iterable[Any], **facts: Any) -> RealData:  # noqa: ANN401
    """Seal a torch `Dataset` of (record, label) pairs, or anything else that yields them.

    Records are tensors, arrays or PIL images; what the dataset does to them (`transform`) is done
    once, so leave random transforms and normalisation out.

    Args:
        dataset: Yields pairs; one with only `__len__` and `__getitem__` will do.
        facts: As `from_arrays` takes them.

    Raises:
        DataError: If anything is not as described.
    """
    size = getattr(dataset, "__len__", None)
    items = dataset if size is None else (dataset[k] for k in range(size()))  # pyright: ignore[reportIndexIssue]
    try:
        pairs = [(np.asarray(x), y) for x, y in items]
    except (TypeError, ValueError) as error:
        raise DataError("A dataset of (record, label) pairs expected, found others.") from error
    if len({x.shape for x, _ in pairs}) != 1:
        raise DataError("Records of one shape expected in the dataset; resize them in it.")
    return from_arrays(np.stack([x for x, _ in pairs]), [np.asarray(y) for _, y in pairs], **facts)


def _array(values: Any, where: str) -> np.ndarray:  # noqa: ANN401
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: an array expected, found rows of several lengths.") from error
