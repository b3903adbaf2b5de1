"""One more point of a curve, after the study: taken and scored; and a choice confirmed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from moc.data.storage import save_set
from moc.errors import StudyError
from moc.evaluate.protocols.base import ADVERSARIAL
from moc.evaluate.suites import SUITES, Suite
from moc.objectives.robust_error import RobustError
from moc.search.space import Point
from moc.study.closing import note_examined
from moc.study.config import parse_config
from moc.study.context import StudyContext, threads_of
from moc.study.events import StudyLedger
from moc.study.measuring import Way, look_closer, measure
from moc.study.records import StudyRecord, Trial, set_path, trial_name
from moc.study.reporter import Reporter
from moc.study.run import locked
from moc.study.store import checks_to_json, read_study, scored_fields, scores_to_json
from moc.study.transfer import train_transfer
from moc.study.worklist import network_seeds

_CONFIRMED = 300_000
"""Networks that confirm a choice are none of those that the search or the report saw."""

_SAME = 1e-3
"""Points of a unit box that are nearer than this are one."""


class Dial:
    """Opens a finished study again, to take one more point of a curve or to confirm a choice."""

    def __init__(self, study: StudyRecord, reporter: Reporter) -> None:
        """Open a study.

        Raises:
            StudyError: If it is not finished, or paid for its scores.
        """
        self.config = parse_config(study.config, where=str(study.folder))
        self.study, self.reporter, self.folder = study, reporter, study.folder
        if not study.complete:
            raise StudyError(
                f"Study {study.name} has not run to its end yet: run it first, with the command "
                "that started it."
            )
        if self.config.pays_for_scores:
            raise StudyError(
                f"Study {study.name} paid for the scores of its trials and of no others: one more "
                "point cannot be scored, nor a choice confirmed. Choose one of its trials."
            )

    @cached_property
    def context(self) -> StudyContext:
        """The study's records and measures; loaded when first asked for."""
        return StudyContext.load(self.config, self.folder, self.reporter)

    def trial(self, point: Point, rung: int, *, epsilon: float) -> int:
        """The number of the trial at this point of the curve of a rung.

        One that is there is taken; a new one costs a scoring, and no step of condensation.

        Args:
            point: The point.
            rung: Index of the rung.
            epsilon: Of the releases that the choice of the point depends on: a new trial costs it
                if it is more than that of the rung. Infinity in an open study.
        """
        space = self.study.space
        of_rung = [trial for trial in self.study.trials if trial.rung_index == rung]
        for trial in of_rung:
            if math.dist(space.encode(trial.point), space.encode(point)) < _SAME:
                return trial.number
        with locked(self.folder), threads_of(self.config):
            ledger = StudyLedger(self.folder / "study.jsonl")
            asked = (row["number"] for e in ledger.all("asked") for row in e["trials"])
            # Numbers of trials that a rule left out stay theirs: their search may yet go on.
            number = max(self.config.planned_trials, 1 + max(asked))
            row = {
                "number": number,
                "kind": "dialled",
                "point": point,
                "weights": space.weights.named(point),
                "rung": rung,
            }
            curve = self.study.curve_at(rung, space.recipe(point))
            save_set(curve.at(**space.place(point)), self._path(number))
            begun = time.monotonic()
            cost = max(epsilon, of_rung[0].epsilon)
            seeds = network_seeds(self.config, test=False)
            way = Way(event="scored", records="validation", seeds=seeds)
            suite = self.context.suites["validation"]
            (found,) = measure(self.context, number, [way], suite=suite, epsilon=cost)
            ledger.append("asked", rung=rung, trials=[row])
            ledger.append("condensed", trial=number, losses={}, seconds=0.0)
            ledger.append(
                "scored",
                trial=number,
                **scored_fields(found.scores),
                epsilon=cost if of_rung[0].is_private else None,
                seconds=time.monotonic() - begun,
            )
        return number

    def confirm(self, number: int, suite: str = "full") -> None:
        """Score a chosen trial once more: fresh networks, test records, the attacks of claims.

        Then a network that is trained under attack on the set, since whoever may train as they
        like gets more robust ones so. The masking checks are run where the study has not run them.

        Args:
            number: The trial.
            suite: Kind of the suite of attacks.
        """
        trial = read_study(self.folder).trial(number)
        with locked(self.folder), threads_of(self.config):
            ledger = StudyLedger(self.folder / "study.jsonl")
            attacks = SUITES.make(suite)
            left = [
                way
                for way in self._confirming()
                if ledger.find(way.event, trial=number, suite=suite) is None
            ]
            if left:
                self._confirm(ledger, trial, left, attacks)
            if ledger.find("examined", trial=number) is None:
                self._examine(ledger, trial)

    def _confirm(
        self, ledger: StudyLedger, trial: Trial, ways: Sequence[Way], suite: Suite
    ) -> None:
        context = self.context
        for one in measure(context, trial.number, ways, suite=suite, epsilon=trial.epsilon):
            way = one.way
            ledger.append(
                way.event,
                trial=trial.number,
                suite=suite.kind,
                attacks=[attack.label for attack in suite.attacks],
                scores=scores_to_json(one.scores),
                records=len(context.held_out[way.records]),
                networks=len(way.seeds),
                training_attack=way.attack.label if way.attack else "",
                checks=checks_to_json(one.checks),
            )

    def _confirming(self) -> list[Way]:
        """How a choice is confirmed: by one network trained under attack, and as the study does."""
        config = self.config
        robust = any(isinstance(one, RobustError) for one in config.objectives.values())
        plain = config.evaluate.protocol.attack is None
        seeds = tuple(seed + _CONFIRMED for seed in network_seeds(config, test=True))
        ways = [Way(event="confirmed", records="test", seeds=seeds)]
        if robust and plain:  # it takes longest, and so comes first
            under = Way(event="hardened", records="test", seeds=seeds[:1], attack=ADVERSARIAL)
            ways.insert(0, under)
        return ways

    def _examine(self, ledger: StudyLedger, trial: Trial) -> None:
        """Masking checks of a trial that the study itself did not check."""
        context = self.context
        transfer = train_transfer(context, stand_in=trial)
        found = look_closer(context, trial.number, transferred=transfer.records)
        note_examined(
            context,
            ledger,
            trial.name,
            checks=found.checks,
            curve=found.curve,
            trial=trial.number,
            transfer=transfer.words,
        )

    def _path(self, number: int) -> Path:
        return self.folder / set_path(trial_name(number))
