"""The one door to real data: sources, as a study file names them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import AfterValidator, ValidationInfo

from moc.data.declared import NOTHING, Declared
from moc.data.vault import RealData
from moc.errors import DataError
from moc.parts import Family, Part

Section = Literal["train", "validation", "test"]
"""A part of a data set as its files divide it."""


def _found(path: Path, info: ValidationInfo) -> Path:
    try:
        path = path.expanduser()
    except RuntimeError:
        raise ValueError(f"the home folder in {path} is not known; write it out") from None
    return path if info.context is None else info.context / path


UserPath = Annotated[Path, AfterValidator(_found)]
"""A path that may begin with ~; relative to the folder of the study file that names it."""


class Source(Part, ABC):
    """Where records come from.

    Attributes:
        published: Which of the classes, mean and std that it gives are published constants.
        records: Published numbers of records, by section.
    """

    published: ClassVar[tuple[str, ...]] = ()
    records: ClassVar[Mapping[Section, int]] = {}

    @classmethod
    def guess(cls, path: Path) -> Source | None:
        """The source that reads what lies at `path`, judged by its content; None if not this."""
        del path
        return None

    def proposed(self) -> Source:
        """The same with what it still has to be told, read off the records: for `moc inspect`."""
        return self

    @property
    def has_test(self) -> bool:
        """Whether it has a test section of its own; a broken one is there, and fails to load."""
        return False

    @property
    def has_validation(self) -> bool:
        """Likewise of a validation section, which is left alone unless a study names it."""
        return False

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections that it has."""
        there: dict[Section, bool] = {"validation": self.has_validation, "test": self.has_test}
        return ("train", *(name for name, found in there.items() if found))

    @property
    def folder(self) -> Path | None:
        """Folder of its files, for what is to stay beside them; None if it has none."""
        path: Path | None = getattr(self, "path", None)
        return path if path is None or path.is_dir() else path.parent

    @property
    def places(self) -> frozenset[str]:
        """Names of the settings that say where files lie, and nothing of what is in them."""
        return frozenset(name for name, value in self if isinstance(value, Path))

    @abstractmethod
    def read(self, section: Section, classes: tuple[str, ...] | None) -> RealData:
        """Load and seal one section, one of those that there are.

        Args:
            section: Which.
            classes: Their names, where they are declared; for sources that would otherwise number
                them after the labels.

        Raises:
            DataError: If the data are not as the source describes.
        """

    def load(self, section: Section = "train", declared: Declared = NOTHING) -> RealData:
        """Load and seal one section, with what is declared about it.

        Raises:
            DataError: If there is no such section, or the data are not as the source describes or
                as declared.
        """
        if section not in get_args(Section):
            names = ", ".join(map(repr, get_args(Section)))
            raise DataError(f"A section, one of {names}, expected, found {section!r}.")
        if section not in self.sections:
            raise DataError(
                f"The source {self.kind!r} has no {section} section; load its train section and "
                "split that instead."
            )
        data = self.read(section, declared.names)
        if section != "train":
            declared = declared.model_copy(update={"count": None})
        whole = data.info.count == self.records.get(section)
        published = (*self.published, *(("count",) if whole else ()))
        return data.described(declared.applied(data.info, published=published, kind=self.kind))


SOURCES: Family[Source] = Family("sources", Source, "moc.data.sources")
