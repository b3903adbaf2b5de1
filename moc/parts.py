"""Parts that build themselves: frozen models whose fields are their keys in a study file.

A part has a `kind` and settings of its own, and lives in one file. A family is all parts of one
base class: it finds them in the modules of a folder and, for parts of other packages, among the
entry points of the group `moc.<family>`. Nothing else has to know a part for a study file to name
it. `docs/extend.md` adds one of each.
"""

from __future__ import annotations

import pkgutil
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Generic, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import core_schema

from moc.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import GetCoreSchemaHandler


class Part(BaseModel):
    """A choice that a study file can make.

    Every final class names itself: `kind: Literal["ridge-risk"] = "ridge-risk"`. Its other fields
    are its settings, validated, with defaults; unknown keys are refused.

    Attributes:
        kind: Its name in study files.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        defer_build=True,
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
    )
    kind: str

    @property
    def needs(self) -> frozenset[str]:
        """What the evidence must give for this part to work; see `moc.evidence.base`."""
        return frozenset()

    def but(self, **changes: object) -> Self:
        """The same with other settings, validated."""
        return type(self).model_validate({**dict(self), **changes})


P = TypeVar("P", bound=Part)


class Family(Generic[P]):
    """All parts of one base class.

    Use it as an annotation, `discrepancy: Annotated[Discrepancy, DISCREPANCIES]`: the field then
    takes a part, a table with its `kind`, or the kind alone where the defaults will do.

    Attributes:
        name: What the parts are called in messages; entry points stand in the group `moc.<name>`.
    """

    def __init__(self, name: str, base: type[P], package: str) -> None:
        """Find parts of `base` in the modules of `package`, but for those named `_x`."""
        self.name, self._base, self._package = name, base, package

    @cached_property
    def parts(self) -> dict[str, type[P]]:
        """The classes by kind.

        Raises:
            StudyError: If two have the same kind.
        """
        package = import_module(self._package)
        homes = [
            import_module(f"{self._package}.{module.name}")
            for module in pkgutil.iter_modules(package.__path__)
            if not module.name.startswith("_")
        ]
        homes += [point.load() for point in entry_points(group=f"moc.{self.name}")]
        found: dict[str, type[P]] = {}
        for part in (part for home in homes for part in _named(home, self._base)):
            kind = part.model_fields["kind"].default
            if found.setdefault(kind, part) is not part:
                raise StudyError(
                    f"Two {self.name} are called {kind!r}: {found[kind].__module__} and "
                    f"{part.__module__}. Give one of them another kind."
                )
        return found

    def make(self, chosen: str | Mapping[str, Any] | P) -> P:
        """A part from its kind, or from a table with its kind and settings.

        Raises:
            StudyError: With every fault and its place.
        """
        try:
            return cast("P", self._adapter.validate_python(chosen))
        except ValidationError as error:
            raise StudyError(f"{self.name}: {describe(error)}") from None

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(Annotated[self._base, self])  # pyright: ignore[reportArgumentType, reportInvalidTypeForm]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Choose by `kind` among the parts."""
        del source
        tagged = core_schema.tagged_union_schema(
            {kind: handler.generate_schema(part) for kind, part in self.parts.items()},
            discriminator="kind",
        )
        return core_schema.no_info_before_validator_function(_spelled_out, tagged)


def describe(error: ValidationError) -> str:
    """The faults of a model, one a line, each with its place."""
    found = error.errors()
    places = {fault["loc"][:end] for fault in found for end in range(len(fault["loc"]))}
    lines = [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}".removeprefix(": ")
        for fault in found
        if fault["type"] != "too_short" or fault["loc"] not in places  # it lost what was faulty
    ]
    return "\n  ".join(lines)


def _spelled_out(chosen: object) -> object:
    """The kind alone stands for a part with its defaults."""
    return {"kind": chosen} if isinstance(chosen, str) else chosen


def _named(home: object, base: type[P]) -> list[type[P]]:
    """The parts that a module holds, or the part that an entry point names."""
    candidates = vars(home).values() if isinstance(home, ModuleType) else [home]
    return [
        part
        for part in candidates
        if isinstance(part, type)
        and issubclass(part, base)
        and isinstance(part.model_fields["kind"].default, str)
    ]
