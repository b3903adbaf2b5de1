"""One more point of a curve, after the study: taken and scored; and a choice confirmed."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from moc.attacks.base import Attack
from moc.data.storage import load_set, save_set
from moc.errors import StudyError
from moc.evaluate.examine import examine
from moc.evaluate.protocols.base import ADVERSARIAL
from moc.evaluate.scores import Estimate
from moc.evaluate.scoring import count_outcomes, estimates
from moc.evaluate.suites import SUITES, Suite
from moc.evaluate.trained import Trained
from moc.objectives.base import Facts
from moc.objectives.robust_error import RobustError
from moc.search.space import Point
from moc.study.closing import note_examined
from moc.study.config import parse_config
from moc.study.context import StudyContext, threads_of
from moc.study.events import StudyLedger
from moc.study.records import StudyRecord, Trial, set_path, trial_name
from moc.study.reporter import Reporter
from moc.study.run import locked
from moc.study.store import read_study, scored_fields, scores_to_json
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
            scores = self._scores(number, cost, self.context.suites["validation"])
            ledger.append("asked", rung=rung, trials=[row])
            ledger.append("condensed", trial=number, losses={}, seconds=0.0)
            ledger.append(
                "scored",
                trial=number,
                **scored_fields(scores),
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
            for kind, under in self._ways():
                if ledger.find(kind, trial=number, suite=suite) is not None:
                    continue
                scores = self._scores(number, trial.epsilon, attacks, test=True, under=under)
                ledger.append(
                    kind,
                    trial=number,
                    suite=suite,
                    attacks=[attack.label for attack in attacks.attacks],
                    scores=scores_to_json(scores),
                    records=len(self.context.held_out["test"]),
                    networks=len(self._seeds(test=True, under=under)),
                    training_attack=under.label if under else "",
                )
            if ledger.find("examined", trial=number) is None:
                self._examine(ledger, trial)

    def _ways(self) -> list[tuple[str, Attack | None]]:
        """The events that confirm a set, and what attacks the training of the networks of each."""
        config = self.config
        robust = any(isinstance(one, RobustError) for one in config.objectives.values())
        plain = config.evaluate.protocol.attack is None
        return [("confirmed", None), *([("hardened", ADVERSARIAL)] if robust and plain else [])]

    def _examine(self, ledger: StudyLedger, trial: Trial) -> None:
        """Masking checks of a trial that the study itself did not check."""
        context = self.context
        transfer = train_transfer(context, stand_in=trial)
        with self.reporter.stage(f"checking the attacks on {trial.name}"):
            found = examine(
                Trained(
                    load_set(self._path(trial.number)),
                    seeds=network_seeds(self.config, test=True),
                    device=context.device,
                ),
                training=context.training,
                threat=self.config.threat,
                held_out=context.held_out["examined"],
                checked=True,
                transferred=transfer.records,
            )
        note_examined(
            context, ledger, trial.name, found, trial=trial.number, transfer=transfer.words
        )

    def _path(self, number: int) -> Path:
        return self.folder / set_path(trial_name(number))

    def _seeds(self, *, test: bool, under: Attack | None = None) -> tuple[int, ...]:
        """Those of the search, as all trials met; or fresh ones, one where training is attacked."""
        seeds = network_seeds(self.config, test=test)
        fresh = tuple(seed + _CONFIRMED for seed in seeds)
        return (fresh[:1] if under else fresh) if test else seeds

    def _scores(
        self,
        number: int,
        epsilon: float,
        suite: Suite,
        *,
        test: bool = False,
        under: Attack | None = None,
    ) -> dict[str, Estimate]:
        """Scores on validation or test records, of networks trained as usual or under an attack."""
        held_out = self.context.held_out["test" if test else "validation"]
        synthetic, training = load_set(self._path(number)), self.context.training
        title = f"{'confirming' if test else 'scoring'} {trial_name(number)}"
        if under is not None:
            training = training.under(under, self.config.threat)
            title += ", trained under attack"
        measures = self.context.measures_of(suite, training)
        seeds, found = self._seeds(test=test, under=under), []
        with self.reporter.stage(title) as progress:
            for done, seed in enumerate(seeds):
                progress(done, len(seeds))
                trained = Trained(synthetic, seeds=(seed,), device=self.context.device)
                counts = count_outcomes(trained, measures=measures, held_out=held_out)
                found.append(held_out.publish(counts))
        rates = replace(found[0], values=torch.cat([one.values for one in found]))
        facts = Facts(synthetic=synthetic, epsilon=epsilon)
        return self.context.complete(estimates(rates, measures), facts)
