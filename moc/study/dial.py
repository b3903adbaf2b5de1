"""One more point of a curve, after the study: taken and scored; and a choice confirmed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from moc.attacks.base import Attack
from moc.data.storage import load_set, save_set
from moc.errors import StudyError
from moc.evaluate.examine import examine
from moc.evaluate.measure import Measure
from moc.evaluate.protocols.base import ADVERSARIAL
from moc.evaluate.scores import Estimate
from moc.evaluate.scoring import estimates
from moc.evaluate.suites import SUITES, Suite
from moc.evaluate.trained import Trained
from moc.objectives.base import Facts
from moc.objectives.robust_error import RobustError
from moc.privacy.held_out import Counts
from moc.search.space import Point
from moc.study.attempts import Failure
from moc.study.closing import note_examined
from moc.study.config import parse_config
from moc.study.context import StudyContext, threads_of
from moc.study.events import StudyLedger
from moc.study.jobs import Score, ScoringContext
from moc.study.records import StudyRecord, Trial, set_path, trial_name
from moc.study.reporter import Reporter
from moc.study.run import locked
from moc.study.store import read_study, scored_fields, scores_to_json
from moc.study.transfer import train_transfer
from moc.study.worklist import Worklist, network_seeds

_CONFIRMED = 300_000
"""Networks that confirm a choice are none of those that the search or the report saw."""

_SAME = 1e-3
"""Points of a unit box that are nearer than this are one."""


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How a set is measured.

    Attributes:
        event: What it is noted as.
        records: On which held-out records.
        seeds: Of the networks.
        attack: What attacks every batch of their training; none where they are trained as usual.
    """

    event: str
    records: str
    seeds: tuple[int, ...]
    attack: Attack | None = None


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
            way = _Way(event="scored", records="validation", seeds=seeds)
            suite = self.context.suites["validation"]
            ((_, scores),) = self._scores(number, cost, suite, [way])
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
            left = [
                way
                for way in self._confirming()
                if ledger.find(way.event, trial=number, suite=suite) is None
            ]
            for way, scores in self._scores(number, trial.epsilon, attacks, left):
                ledger.append(
                    way.event,
                    trial=number,
                    suite=suite,
                    attacks=[attack.label for attack in attacks.attacks],
                    scores=scores_to_json(scores),
                    records=len(self.context.held_out["test"]),
                    networks=len(way.seeds),
                    training_attack=way.attack.label if way.attack else "",
                )
            if ledger.find("examined", trial=number) is None:
                self._examine(ledger, trial)

    def _confirming(self) -> list[_Way]:
        """How a choice is confirmed: by one network trained under attack, and as the study does."""
        config = self.config
        robust = any(isinstance(one, RobustError) for one in config.objectives.values())
        plain = config.evaluate.protocol.attack is None
        seeds = tuple(seed + _CONFIRMED for seed in network_seeds(config, test=True))
        ways = [_Way(event="confirmed", records="test", seeds=seeds)]
        if robust and plain:  # it takes longest, and so comes first
            under = _Way(event="hardened", records="test", seeds=seeds[:1], attack=ADVERSARIAL)
            ways.insert(0, under)
        return ways

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

    def _scores(
        self, number: int, epsilon: float, suite: Suite, ways: Sequence[_Way]
    ) -> Iterator[tuple[_Way, dict[str, Estimate]]]:
        """Scores of a set by each way, as they come; networks are a job each of the executor.

        Raises:
            StudyError: If a job has failed.
        """
        if not ways:
            return
        jobs = [
            Score(
                key=f"{way.event}: {trial_name(number)} by network {seed}",
                name=trial_name(number),
                path=self._path(number),
                records=way.event,
                seeds=(seed,),
            )
            for way in ways
            for seed in way.seeds
        ]
        asked, found = {way.event: way for way in ways}, dict[str, Counts]()
        worker = self._worker(suite, ways)
        with Worklist(self.context, worker) as work:
            title = f"measuring {trial_name(number)} on {ways[0].records} records"
            for done in work.results(title, jobs, steps=len(jobs)):
                if isinstance(done.result, Failure):
                    raise StudyError(f"{done.job.key} failed: {done.result.cause}.")
                found[done.job.key] = done.result
                own = [job.key for job in jobs if job.records == done.job.records]
                if not all(key in found for key in own):
                    continue
                way, counts = asked[done.job.records], Counts.joined([found[key] for key in own])
                measures = worker.measures[way.event]
                scores = estimates(worker.held_out[way.event].publish(counts), measures)
                facts = Facts(synthetic=load_set(self._path(number)), epsilon=epsilon)
                yield way, self.context.complete(scores, facts)

    def _worker(self, suite: Suite, ways: Sequence[_Way]) -> ScoringContext:
        """What workers need for that; held-out records go by the name of the way."""
        context, threat = self.context, self.config.threat
        plain, measures = context.training, dict[str, dict[str, Measure]]()
        for way in ways:
            training = plain.under(way.attack, threat) if way.attack else plain
            measures[way.event] = context.measures_of(suite, training)
        return ScoringContext(
            training=plain,
            threat=threat,
            measures=measures,
            held_out={way.event: context.held_out[way.records] for way in ways},
            device=context.device,
        )
