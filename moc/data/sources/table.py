"""Tables with a label column: CSV and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from pydantic import Field
from typing_extensions import override

from moc.data.arrays import to_real
from moc.data.labels import class_labels
from moc.data.sources.base import Section, Source, UserPath
from moc.data.vault import RealData
from moc.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_PARQUET = b"PAR1"
_WORDS = 20
_ENDINGS = (".csv", ".tsv", ".csv.gz")


class Table(Source):
    """A CSV or Parquet file: a record a row, its label in one column, all else numbers in [0, 1].

    What columns become is declared and never taken from the records: bounds `[LOW, HIGH]` bring
    numbers to [0, 1], and those outside count as the bound; words `["a", "b"]` become one value a
    word, which is 1 where the column says it.

    Attributes:
        path: The file.
        test: A file with the test section, if there is one.
        label: Column of the labels.
        columns: Columns to read and their bounds or words, `{age = [0, 120], sex = ["f", "m"]}`.
            Every column but the label's, of numbers in [0, 1], if none is named.
        missing: Missing values (empty cells, NA, NaN, null): `refuse`, or `middle`: 0.5 for
            numbers, no word for words.
        separator: Between the columns of a CSV file.
    """

    kind: Literal["table"] = "table"
    path: UserPath
    test: UserPath | None = None
    label: str = "label"
    columns: dict[str, tuple[float, float] | tuple[str, ...]] = Field(default_factory=dict)
    missing: Literal["refuse", "middle"] = "refuse"
    separator: str = ","

    @classmethod
    @override
    def guess(cls, path: Path) -> Source | None:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            is_parquet = file.read(4) == _PARQUET
        return cls(path=path) if is_parquet or path.name.lower().endswith(_ENDINGS) else None

    @override
    def proposed(self) -> Source:
        if self.columns:
            return self
        frame = self.frame(self.path)
        rules = {name: _proposed(column) for name, column in frame.items() if name != self.label}
        missing = any(bool(frame[name].isna().any()) for name, rule in rules.items() if rule)
        return self.but(
            columns={name: rule for name, rule in rules.items() if rule},
            missing="middle" if missing else self.missing,
        )

    @property
    @override
    def has_test(self) -> bool:
        return self.test is not None

    @override
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        return self.load_table(section, classes)

    def load_table(self, section: Section, classes: tuple[str, ...] | None = None) -> RealData:
        """Load one section; see `moc.data.sources.base`."""
        frames = {"train": self.frame(self.path)}
        if self.test is not None:
            frames["test"] = self.frame(self.test)
        labels = [self._labels(frame) for frame in frames.values()]
        numbered, classes = class_labels(labels, where=str(self.path), classes=classes)
        y = dict(zip(frames, numbered, strict=True))[section]
        return to_real(self.path.stem, self._records(frames[section]), y, classes=classes)

    def frame(self, path: Path) -> dict[str, pd.Series]:
        """The columns as they stand; every cell of a CSV file as text."""
        import pandas as pd

        if not path.is_file():
            raise DataError(f"A CSV or Parquet file expected at {path}, found no file.")
        try:
            with path.open("rb") as file:
                is_parquet = file.read(4) == _PARQUET
            frame = (
                pd.read_parquet(path)
                if is_parquet
                else pd.read_csv(path, dtype=str, sep=self.separator)
            )
        except (OSError, EOFError, ValueError) as error:  # pandas' and Arrow's are among them
            raise DataError(f"{path} cannot be read as a CSV or Parquet table; mend it.") from error
        columns = {str(name): cast("pd.Series", frame[name]) for name in frame}
        for name in (self.label, *self.columns):
            if name not in columns:
                raise DataError(
                    f"{path}: a column {name!r} expected, found {', '.join(columns)}. "
                    'Say which one holds the labels: label = "NAME".'
                )
        return columns

    def _labels(self, frame: dict[str, pd.Series]) -> np.ndarray:
        column = frame[self.label]
        if bool(column.isna().any()):
            raise DataError(f"{self.path}: a label in every row of {self.label!r} expected.")
        numbers = _numbers(column)
        return (column.astype(str) if numbers is None else numbers).to_numpy()

    def _records(self, frame: dict[str, pd.Series]) -> np.ndarray:
        names = list(self.columns) or [name for name in frame if name != self.label]
        if not names:
            raise DataError(f"{self.path}: a column beside {self.label!r} expected, found none.")
        blocks = [self._block(frame[name], self.columns.get(name, (0.0, 1.0))) for name in names]
        return np.concatenate(blocks, axis=1, dtype=np.float32)

    def _block(self, column: pd.Series, rule: tuple[float, float] | tuple[str, ...]) -> np.ndarray:
        """What a column becomes (n, values)."""
        where, absent = f"{self.path}: column {column.name!r}", column.isna()
        if self.missing == "refuse" and bool(absent.any()):
            raise DataError(
                f'{where} lacks values; fill them, or write missing = "middle" to put 0.5 for '
                "numbers and no word for words."
            )
        if isinstance(rule[0], str):
            words = column.astype(str).to_numpy()[:, None] == np.array(rule)
            if not bool((words.any(1) | absent.to_numpy()).all()):
                raise DataError(f"{where}: only the declared words expected, found others.")
            return words
        low, high = map(float, rule)
        if not low < high:
            raise DataError(f"{where}: bounds [LOW, HIGH] expected, found [{low:g}, {high:g}].")
        numbers = _numbers(column)
        if numbers is None:
            raise DataError(
                f"{where}: numbers expected, found words; declare them in columns, such as "
                f'{column.name} = ["a", "b"].'
            )
        values = ((numbers.to_numpy(dtype=float, na_value=np.nan) - low) / (high - low))[:, None]
        outside = (values < 0) | (values > 1)
        if bool(outside.any()) and column.name not in self.columns:
            raise DataError(
                f"{where}: numbers in [0, 1] expected, found others; declare bounds for every "
                f"column, such as columns = {{{column.name} = [0, 100], ...}}."
            )
        return np.where(absent.to_numpy()[:, None], 0.5, values.clip(0, 1))


def _proposed(column: pd.Series) -> tuple[float, float] | tuple[str, ...] | None:
    """Bounds or words as a column has them; None for one value only, or more than twenty words."""
    numbers = _numbers(column)
    if numbers is not None and len(numbers) and numbers.min() < numbers.max():
        return float(numbers.min()), float(numbers.max())
    words = tuple(sorted(map(str, column.dropna().unique())))
    return words if numbers is None and len(words) <= _WORDS else None


def _numbers(column: pd.Series) -> pd.Series | None:
    """The column as numbers; None if it holds anything else."""
    import pandas as pd

    numbers = cast("pd.Series", pd.to_numeric(column, errors="coerce"))
    return None if bool((numbers.isna() & column.notna()).any()) else numbers
