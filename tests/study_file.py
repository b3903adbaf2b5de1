"""Writes docs/study-file.md from the models: every table, every part, every key, with its default.

python tests/study_file.py > docs/study-file.md
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from moc.attacks.base import ATTACKS
from moc.attacks.threat import Threat
from moc.condense.scalarise import SCALARISERS
from moc.condense.settings import CondenseSettings, CurveSettings, PoolSettings
from moc.data.declared import Declared
from moc.data.decoder import Decoder
from moc.data.sources import SOURCES
from moc.discrepancies.base import DISCREPANCIES, LOSSES
from moc.discrepancies.distances import DISTANCES
from moc.evaluate.protocols import PROTOCOLS
from moc.evaluate.suites import SUITES
from moc.evidence.kinds import EVIDENCE
from moc.networks.architectures import ARCHITECTURES
from moc.networks.learned import LearnedSettings
from moc.networks.teachers import TeacherSettings
from moc.objectives.base import OBJECTIVES
from moc.privacy.ladder import PrivacySettings
from moc.privacy.release import Round
from moc.search.engines import ENGINES
from moc.statistics.base import STATISTICS
from moc.study.config import DataTable, EvaluateTable, SearchTable, StudyConfig
from moc.study.executors.base import EXECUTORS
from moc.study.stop_rules import StopSettings

TABLES: dict[str, type[BaseModel]] = {
    "": StudyConfig,
    "[data]": DataTable,
    "[data.declared]": Declared,
    "[threat]": Threat,
    "[privacy]": PrivacySettings,
    "[[rounds]]": Round,
    "`learned` in [[rounds]]": LearnedSettings,
    "[condense]": CondenseSettings,
    "[condense.curve]": CurveSettings,
    "[condense.pool]": PoolSettings,
    "[condense.decoder]": Decoder,
    "[teacher]": TeacherSettings,
    "[evaluate]": EvaluateTable,
    "[search]": SearchTable,
    "[search.stop]": StopSettings,
}
FAMILIES = {
    "Sources: `source` in [data]": SOURCES,
    "Evidence: [evidence]": EVIDENCE,
    "Objectives: [objectives.NAME]": OBJECTIVES,
    "Discrepancies: `discrepancy`": DISCREPANCIES,
    "Distances: `distance` of `matching`": DISTANCES,
    "Adversarial losses: `adversarial`": LOSSES,
    "Statistics: `statistics` in [[rounds]], `statistic` of `matching`": STATISTICS,
    "Networks: wherever a `network` is asked for": ARCHITECTURES,
    "Scalarisers: `scalariser` in [condense]": SCALARISERS,
    "Protocols: `protocol` in [evaluate]": PROTOCOLS,
    "Suites: `suite` of a protocol, `report_suite` in [evaluate]": SUITES,
    "Attacks: wherever an `attack` is asked for": ATTACKS,
    "Engines: `engine` in [search]": ENGINES,
    "Executors: [executor]": EXECUTORS,
}


def lines() -> Iterator[str]:
    """The document."""
    yield "# The study file"
    yield ""
    yield "Written by `python tests/study_file.py > docs/study-file.md`; a test keeps it current."
    yield ""
    yield (
        'A part is a kind (`engine = "sobol"`) or a table with the kind and its settings '
        '(`engine = {kind = "bayesian", initial = 8}`). Unknown keys are refused. '
        "`[profile.NAME...]` repeats any table with what differs under `--profile NAME`."
    )
    for title, model in TABLES.items():
        yield f"\n## {title or 'Top of the file'}\n"
        yield f"{_summary(model)}\n"
        yield from _rows(model)
    for title, family in FAMILIES.items():
        yield f"\n## {title}\n"
        for kind, part in sorted(family.parts.items()):
            yield f"### `{kind}`\n"
            yield f"{_summary(part)}\n"
            yield from _rows(part)


def _summary(model: type[BaseModel]) -> str:
    doc = inspect.cleandoc(model.__doc__ or "")
    text = re.split(r"^Attributes:$", doc, flags=re.MULTILINE)[0]
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text.strip())


def _rows(model: type[BaseModel]) -> Iterator[str]:
    fields = {k: f for k, f in model.model_fields.items() if k != "kind"}
    if not fields:
        return
    told = _told(model)
    yield "| key | default | |"
    yield "|---|---|---|"
    for name, field in fields.items():
        default = (
            "required"
            if field.is_required()
            else _toml(field.get_default(call_default_factory=True))
        )
        yield f"| `{name}` | {default} | {told.get(name, '')} |"
    yield ""


def _told(model: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a class and its bases say of its attributes."""
    told: dict[str, str] = {}
    for base in reversed(model.__mro__):
        doc = inspect.cleandoc(base.__doc__ or "")
        _, _, attributes = doc.partition("Attributes:\n")
        for name, text in re.findall(
            r"^ {4}(\w+): (.*?)(?=^ {4}\w+: |\Z)", attributes, flags=re.MULTILINE | re.DOTALL
        ):
            told[name] = " ".join(text.split()).replace("|", "\\|")
    return told


def _toml(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True) | (
            {"kind": value.kind} if "kind" in type(value).model_fields else {}  # pyright: ignore[reportAttributeAccessIssue]
        )
        nested = any(isinstance(one, dict) for one in value.values())
        return f"`{_plain(value)}`" if value and not nested else ""
    if isinstance(value, tuple):
        return f"`[{', '.join(_toml(one).strip('`') for one in value)}]`" if value else ""
    return f"`{json.dumps(value)}`" if not isinstance(value, dict) or value else ""


def _plain(value: dict[str, Any]) -> str:
    kind = value.pop("kind", None)
    if not value:
        return json.dumps(kind)
    settings = {"kind": kind, **value} if kind else value
    return "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in settings.items()) + "}"


def document() -> str:
    """The whole text."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines())).rstrip() + "\n"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201
