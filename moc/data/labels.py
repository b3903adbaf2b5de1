"""Labels as people bring them: numbers from any base, with gaps, one-hot rows, words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moc.errors import DataError


def class_labels(
    parts: Sequence[np.ndarray], *, where: str, classes: tuple[str, ...] | None = None
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Number the labels of all parts of a data set after one list of classes.

    Labels are whole numbers (n,) or (n, 1), words likewise, or one-hot rows (n, classes). A label
    is the name of its class; where the classes have other names, a number is a place among them.

    Args:
        parts: Labels of every part, so that all agree on the classes.
        where: What to call the data set in an error.
        classes: Their names, if they are declared; else the labels that are used, in order.

    Returns:
        The labels 0, 1, ... (n,) int64 of each part, and the names of the classes.

    Raises:
        DataError: If there is no label, or they are not of one such form, or not of these classes.
    """
    plain = [_plain(y, where=where) for y in parts]
    if len({y.dtype.kind for y in plain}) > 1:
        raise DataError(f"{where}: numbers, or words, as labels of all parts expected; found both.")
    used = np.unique(np.concatenate(plain)) if plain else np.empty(0)
    if not len(used):
        raise DataError(f"{where}: a label for each record expected, found no label.")
    columns = {y.shape[1] for y in parts if y.ndim == 2 and y.shape[1] > 1}
    if columns and classes is None:
        classes = tuple(map(str, range(max(columns))))
    if classes is None:
        return [np.searchsorted(used, y) for y in plain], tuple(map(str, used.tolist()))
    places = {name: k for k, name in enumerate(classes)}
    if plain[0].dtype.kind == "i" and not all(name.isdecimal() for name in classes):
        places = {str(k): k for k in range(len(classes))}
    found = [places.get(str(value)) for value in used.tolist()]
    if None in found:  # not shown: labels may be private
        raise DataError(
            f"{where}: labels of the {len(classes)} declared classes expected, found others; "
            "declare all classes, by the names that the labels have."
        )
    numbers = np.array(found, dtype=np.int64)
    return [numbers[np.searchsorted(used, y)] for y in plain], classes


def _plain(y: np.ndarray, *, where: str) -> np.ndarray:
    """Labels as int64 or words (n,)."""
    if y.ndim == 2 and y.shape[1] > 1:
        return _from_one_hot(y, where=where)
    if y.ndim == 2:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(
            f"{where}: one label a record, shape (n,) or one-hot (n, classes), expected, found "
            f"shape {y.shape}."
        )
    if y.dtype.kind == "O" and all(isinstance(value, str) for value in y):
        y = y.astype(str)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    if y.dtype.kind == "f" and bool((np.isfinite(y) & (y == np.round(y))).all()):
        y = y.astype(np.int64)
    if y.dtype.kind not in "iubU":
        raise DataError(
            f"{where}: whole numbers, words or one-hot rows as labels expected, found {y.dtype}."
        )
    return y if y.dtype.kind == "U" else y.astype(np.int64)


def _from_one_hot(y: np.ndarray, *, where: str) -> np.ndarray:
    if y.dtype.kind in "iubf" and bool((((y == 0) | (y == 1)).all(1) & (y.sum(1) == 1)).all()):
        return y.argmax(1).astype(np.int64)
    raise DataError(
        f"{where}: one label a record expected, found rows of {y.shape[1]} that are not one-hot; "
        "records of several classes at once cannot be condensed, so choose one label for each."
    )
