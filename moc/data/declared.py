"""What is declared public about a data set."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from moc.errors import DataError

Fact = Literal["count", "classes", "mean", "std"]
FACTS: tuple[Fact, ...] = ("count", "classes", "mean", "std")
"""What a study needs to know of T beforehand."""


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What is declared public about a data set; nothing here may be computed from private records.

    Attributes:
        name: Short name, used in folders and cards.
        shape: Shape of one record: (channels, height, width) for images, (features,) for vectors.
        classes: Names of the classes; label k means `classes[k]`.
        count: Number of records N, declared public.
        mean: Normalisation mean per channel (one value for vectors), in [0, 1] units, public.
        std: Normalisation standard deviation per channel, likewise.
        mirrored: Whether a horizontal flip keeps an image in its class.
        taken: Which of these were read off the records, instead of declared or published.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    count: int
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    mirrored: bool = False
    taken: tuple[Fact, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether records are images rather than feature vectors."""
        return len(self.shape) == 3


class Declared(BaseModel):
    """`[data.declared]`: public facts about the data, which are then not taken from the records.

    The built-in benchmarks bring theirs, as published.

    Attributes:
        name: What cards call the data; the kind of the source if left out.
        count: Number of records of the source (of its train section), before it is divided.
        classes: Names of the classes in the order of their labels, or their number.
        mean: Normalisation mean of every channel; 0.5 if left out.
        std: Normalisation standard deviation, likewise.
        taken: Which of `count` and `classes` are public although they are read off the records: a
            private study refuses to take any other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")
    count: int | None = Field(default=None, gt=0)
    classes: Annotated[int, Field(ge=2)] | tuple[str, ...] | None = None
    mean: float | None = Field(default=None, ge=0, le=1)
    std: float | None = Field(default=None, gt=0)
    taken: tuple[Literal["count", "classes"], ...] = ()

    @field_validator("classes")
    @classmethod
    def _classes(cls, value: int | tuple[str, ...] | None) -> int | tuple[str, ...] | None:
        if isinstance(value, tuple) and not 2 <= len(value) == len(set(value)):
            raise ValueError("two or more different names expected")
        return value

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the classes, if they are declared."""
        if isinstance(self.classes, int):
            return tuple(map(str, range(self.classes)))
        return self.classes

    def applied(self, info: DataInfo, *, published: Collection[str], kind: str) -> DataInfo:
        """What is known about records: as declared, as published, or else taken from them.

        Args:
            info: What their source says.
            published: Facts that it has from a publication.
            kind: Its name.

        Raises:
            DataError: If the declaration does not fit.
        """
        names, channels = self.names or info.classes, len(info.mean)
        if len(names) != len(info.classes):
            raise DataError(
                f"[data.declared] names {len(names)} classes, and the source {kind!r} has another "
                "number of them; name all of them, in the order of their labels."
            )
        if self.count not in (None, info.count):
            raise DataError(
                f"[data.declared] count = {self.count} is not the number of records of the source "
                f"{kind!r}; correct it, or look for what was added or is missing."
            )
        constants: dict[str, tuple[float, ...]] = dict.fromkeys(("mean", "std"), (0.5,) * channels)
        changes = {
            name: (value,) * channels
            for name, value in (("mean", self.mean), ("std", self.std))
            if value is not None
        }
        taken = tuple(
            name
            for name in FACTS
            if name not in published
            and getattr(self, name) is None
            and getattr(info, name) != constants.get(name)
        )
        return replace(info, name=self.name or kind, classes=names, taken=taken, **changes)


NOTHING = Declared()
"""No declaration: facts are published, or taken from the records."""
