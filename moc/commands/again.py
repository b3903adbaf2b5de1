"""The scores on a card, measured again by fresh networks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moc.errors import MocError, PolicyError
from moc.evaluate.scores import Estimate
from moc.evaluate.scoring import publish_scores
from moc.evaluate.trained import Trained
from moc.export import CARD, load
from moc.objectives.base import Objective
from moc.privacy.ledger import Ledger
from moc.study.config import StudyConfig, load_config, parse_config
from moc.study.context import StudyContext, budget_of, threads_of
from moc.study.division import parts_of, public_parts
from moc.study.reporter import Reporter
from moc.study.settings import read_settings
from moc.study.worklist import network_seeds

_AGAIN = 400_000
"""Networks that verify a card are none of those that a study, or its choice, saw."""

_WIDE = 3.0
"""Standard errors, of both measurements together, that they may lie apart."""


@dataclass(frozen=True, kw_only=True)
class Remeasured:
    """One score of a card, and the same measured again.

    Attributes:
        part: `validation` or `test`.
        objective: What was measured.
        promised: What the card says.
        found: What fresh networks reach.
    """

    part: str
    objective: Objective
    promised: Estimate
    found: Estimate

    @property
    def agrees(self) -> bool:
        """Whether both lie within three standard errors of each other."""
        spread = math.hypot(self.promised.se, self.found.se)
        return abs(self.promised.mean - self.found.mean) <= _WIDE * spread

    def describe(self) -> str:
        """Both in words."""
        shown = self.objective.shown
        words = f"{self.objective.words}, {self.part}: {shown.estimate(self.promised)}"
        words += f"{shown.suffix} on the card, {shown.estimate(self.found)}{shown.suffix} again"
        return f"{words}{'' if self.agrees else ', MORE THAN 3 STANDARD ERRORS APART'}"


def remeasured(
    folder: Path, *, study: Path | None, runs: Path, reporter: Reporter
) -> Iterator[Remeasured]:
    """Measure the scores of an exported set again, as its card says that they were measured.

    Only on records that its study declared public, or of an open study: others were paid for, and
    no ledger is written to.

    Args:
        folder: The export.
        study: A study file whose `[data]` says where the records lie; else the settings of the
            card's study under `runs`, else its kind of source alone.
        runs: Folder that holds the studies' folders.
        reporter: Told of long work.

    Raises:
        MocError: If the records are not at hand, or may not be shown.
    """
    card = _card(folder)
    config = _config(card, study, runs)
    context = _context(config, folder, reporter)
    synthetic = load(folder)
    for part in ("validation", "test"):
        promised = card["scores"][part] or {}
        held_out = context.held_out.get(part)
        if not promised or held_out is None:
            continue
        measures = context.measures_of(context.suites[part])
        seeds = [seed + _AGAIN for seed in network_seeds(config, test=part == "test")]
        trained = Trained(synthetic, seeds=seeds, device=context.device)
        with reporter.stage(f"measuring again on {len(held_out)} {part} records"):
            found = publish_scores(trained, measures=measures, held_out=held_out)
        for name in found.keys() & promised.keys():
            mean, se = promised[name]
            yield Remeasured(
                part=part,
                objective=config.objectives[name],
                promised=Estimate(mean=mean, se=se or 0.0),
                found=found[name],
            )


def _card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return {**card, "scores": dict(card["scores"]), "settings": dict(card["settings"])}
    except (OSError, ValueError, KeyError, TypeError):
        raise PolicyError(f"An exported folder with its {CARD} expected at {folder}.") from None


def _config(card: Mapping[str, Any], study: Path | None, runs: Path) -> StudyConfig:
    """The settings of the card, on the records that are named elsewhere.

    Raises:
        MocError: If no records are named, or settings do not go together.
    """
    kept = runs / str(card["study"]) / "config.json"
    if study is not None:
        data = load_config(study).data.model_dump(mode="json")
    elif kept.is_file():
        data = read_settings(kept.parent)["data"]
    else:
        data = card["settings"]["data"]
    sources = {name: data[name] for name in ("source", "public_source")}
    tables = {**card["settings"], "data": {**card["settings"]["data"], **sources}}
    return parse_config(tables, where="the card's study")


def _context(config: StudyConfig, folder: Path, reporter: Reporter) -> StudyContext:
    """What the card's study measured with, under a ledger that is thrown away.

    Raises:
        MocError: If the records cannot be read, or may not be shown.
    """
    if config.pays_for_scores:
        raise PolicyError(
            "the records are private, and scores on them were paid for: none can be had again."
        )
    ledger = Ledger(budget_of(config))
    for name, part in parts_of(config).items():
        ledger.own(name, part, public=name in public_parts(config))
    return StudyContext(config, ledger, folder=folder, reporter=reporter)


def verify_scores(
    folder: Path, *, study: Path | None, runs: Path, reporter: Reporter
) -> tuple[list[Remeasured], str]:
    """What `remeasured` finds, or why the scores cannot be measured here, in words.

    Raises:
        MocError: If `study` names records on which they cannot be measured.
    """
    try:
        with threads_of(_config(_card(folder), study, runs)):
            return list(remeasured(folder, study=study, runs=runs, reporter=reporter)), ""
    except MocError as error:
        if study is not None:
            raise
        why = str(error).rstrip(".")
        return [], (
            f"The scores were not measured again: {why}. Name a study file whose [data] says where "
            "the records lie: --study FILE."
        )
