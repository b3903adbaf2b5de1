"""Named methods: short compositions of parts, one TOML file each, with its paper.

A file holds what a method is and, under `[study]`, entries of a study file. What a study file says
itself goes before them. `moc methods` lists them all.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict

from moc.discrepancies.base import DISCREPANCIES, Discrepancy
from moc.errors import StudyError
from moc.evidence.base import RECORDS


class Method(BaseModel):
    """A published method.

    Attributes:
        name: As a study file names it: `method = "dm"`.
        title: What it is called.
        paper: Where it was published.
        formula: What is minimised.
        differs: How this differs from the paper.
        study: Entries of a study file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str
    title: str
    paper: str
    formula: str
    differs: str
    study: dict[str, Any]

    @property
    def discrepancy(self) -> Discrepancy:
        """That of the objective `error`."""
        return DISCREPANCIES.make(self.study["objectives"]["error"]["discrepancy"])

    @property
    def needs(self) -> frozenset[str]:
        """What the evidence must give; see `moc.evidence.base`."""
        grown = "pool" in self.study.get("condense", {})
        return self.discrepancy.needs | ({RECORDS} if grown else set())

    @property
    def can_be_chosen(self) -> bool:
        """Whether a search may choose it: evidence is shared by all recipes of a study."""
        return set(self.study) <= {"objectives", "condense"}


@cache
def methods() -> dict[str, Method]:
    """All methods by name."""
    found = {}
    for file in sorted(files(__name__).iterdir(), key=lambda one: one.name):
        name, _, ending = file.name.rpartition(".")
        if ending == "toml":
            found[name] = Method(name=name, **tomllib.loads(file.read_text(encoding="utf-8")))
    return found


def source_of(method: Method) -> str:
    """The entries of a study file that a method stands for, as its own file has them."""
    text = files(__name__).joinpath(f"{method.name}.toml").read_text(encoding="utf-8")
    return text[text.index("[study.") :].replace("[study.", "[").strip()


def method_called(name: str) -> Method:
    """The method of this name.

    Raises:
        StudyError: If there is none.
    """
    known = methods()
    if name not in known:
        raise StudyError(f"A method among {', '.join(known)} expected, found {name!r}.")
    return known[name]
