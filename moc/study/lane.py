"""The search of one rung of a study: batch after batch of points, condensed and scored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moc.condense.loop import Start, Task
from moc.condense.scalarise import Normalisation
from moc.data.curve import load_curve, save_curve
from moc.data.storage import load_set, save_set
from moc.errors import StudyError
from moc.evaluate.scoring import estimates
from moc.objectives.base import Facts
from moc.search.space import Point
from moc.study.attempts import Failure
from moc.study.context import StudyContext
from moc.study.events import StudyLedger
from moc.study.executors import Done
from moc.study.jobs import Condense, CondenseCurves, Dial
from moc.study.measuring_jobs import Score
from moc.study.mending import fault_of
from moc.study.records import curve_path, number_of, set_path, trial_name
from moc.study.schedule import Clock, Schedule
from moc.study.stopping import signals_held
from moc.study.store import read_trials, scored_fields
from moc.study.work import Job
from moc.study.worklist import Worklist


class Lane:
    """The search of one rung, by itself: batch after batch, the next once the last is scored.

    A set made from a rung costs that rung's epsilon only if nothing about it was decided by looking
    at rungs above, so every rung has an engine of its own, which is told the scores of its rung
    only, and a schedule that sees no other. Lanes go on side by side.

    Attributes:
        schedule: The rung's batches, and whether there is a next one.
        finished: Batches of which every trial is scored and told.
    """

    def __init__(
        self, context: StudyContext, ledger: StudyLedger, work: Worklist, rung: int, clock: Clock
    ) -> None:
        """Take up the search of a rung where the ledger left it."""
        self.context, self.ledger, self.work, self.config = context, ledger, work, context.config
        self.rung, self.finished = rung, 0
        config, lanes = self.config, context.rungs
        self.losses, self.space = config.weighed, config.space
        self.measured = [name for name, one in config.objectives.items() if not one.exact]
        self.schedule = Schedule(config, ledger, rung, frame=context.frame, clock=clock)
        self.replayed = 0
        self.engine = (
            config.search.engine.start(
                self.space, objectives=len(self.measured), seed=config.seed * lanes + rung
            )
            if len(self.losses) > 1
            else None
        )

    def advance(self) -> list[Job[Any]]:
        """Jobs of the first batch that is not finished; none if all are, or the search is over."""
        while self.schedule.goes_on(self.finished):
            rows = self._ask()
            jobs = self._jobs(rows)
            if jobs:
                return jobs
            if not all(self._ended(row["number"]) for row in rows):
                return []  # what is missing is under way
            self._tell(rows)
            self.finished += 1
        return []

    def take(self, done: Done) -> list[Job[Any]]:
        """Note a result, and say what is to be done next."""
        if isinstance(done.result, Failure):
            self._failed(done, done.result.cause)
        elif isinstance(done.job, CondenseCurves):
            return self._curve_made(done)
        elif isinstance(done.job, Condense | Dial):
            return [self._stored(number, done, k) for k, number in enumerate(done.job.numbers)]
        else:
            self._scored(done)
        ended = all(self._ended(row["number"]) for row in self._ask())
        return self.advance() if ended else []

    def _event(self, kind: str, number: int) -> dict[str, Any] | None:
        return self.ledger.find(kind, trial=number)

    def _ended(self, number: int) -> bool:
        """Whether a trial is scored, or has failed."""
        return any(self._event(kind, number) is not None for kind in ("scored", "failed"))

    def _failed(self, done: Done, cause: str) -> None:
        """Note that the trials of a job have failed, and why; the engine is never told of them."""
        if isinstance(done.job, CondenseCurves):
            own = [r for r in self._ask() if self.space.recipe(r["point"]) == done.job.recipe]
            left = [row["number"] for row in own if not self._ended(row["number"])]
            numbers = [number for number in left if self.ledger.made(number) is None]
        elif isinstance(done.job, Condense | Dial):
            numbers = list(done.job.numbers)
        else:
            numbers = [number_of(done.job.name)]
        stage = "scoring" if isinstance(done.job, Score) else "condensing"
        for number in numbers:
            self._note_failure(number, stage, cause)

    def _note_failure(self, number: int, stage: str, cause: str) -> None:
        self.ledger.append("failed", trial=number, stage=stage, cause=cause)
        self.context.reporter.say(f"{trial_name(number)} has failed in {stage}: {cause}.")

    def _ask(self) -> list[dict[str, Any]]:
        """The trials of the batch in hand, as asked now or before."""
        numbers = self.schedule.batches[self.finished]
        place = {"rung": self.rung, "batch": self.finished}
        event = self.ledger.find("asked", **place)
        if event is None:
            points = self._ask_engine(len(numbers)) if self.finished else self._anchors()
            rows = [
                {
                    "number": number,
                    "kind": "anchor" if self.finished == 0 else "search",
                    "point": point,
                    "weights": self.space.weights.named(point),
                    "rung": self.rung,
                }
                for number, point in zip(numbers, points, strict=True)
            ]
            event = self.ledger.append("asked", **place, trials=rows)
        elif self.engine is not None and self.replayed < self.finished:
            self.engine.replay([row["point"] for row in event["trials"]])
        self.replayed = self.finished
        return event["trials"]

    def _ask_engine(self, count: int) -> list[Point]:
        assert self.engine is not None, "only what is weighed is searched"
        return self.engine.ask(count)

    def _anchors(self) -> list[Point]:
        """Each loss alone."""
        count = len(self.losses)
        return [self.space.point([float(k == own) for k in range(count)]) for own in range(count)]

    def _jobs(self, rows: list[dict[str, Any]]) -> list[Job[Any]]:
        """What is left to do for these trials."""
        left = [row for row in rows if not self._ended(row["number"])]
        made = [row for row in left if self._is_stored(row["number"])]
        new = [row for row in left if row not in made]
        jobs = self._making(new)
        dialled = (len(job.numbers) for job in jobs if isinstance(job, Dial))
        self.work.spare(len(made) + sum(dialled))  # there, or on a curve: only scoring is work
        return [*jobs, *(self._score(row["number"]) for row in made)]

    def _is_stored(self, number: int) -> bool:
        """Whether a set was condensed, and is there: one that is lost or damaged is none."""
        if self.ledger.made(number) is None:
            return False
        fault = fault_of(self.context.folder / set_path(trial_name(number)), load_set)
        if fault:
            self.ledger.append("lost", trial=number)
            self.context.reporter.say(f"{fault} It is condensed again.")
        return not fault

    def _making(self, rows: list[dict[str, Any]]) -> list[Job[Any]]:
        """Sets by themselves, points of curves, or the curves of recipes that have none yet."""
        if not self.config.on_curves:
            return [self._condense(part) for part in self._together(rows)]
        by_recipe: dict[int, list[dict[str, Any]]] = {}
        for row in rows:
            by_recipe.setdefault(self.space.recipe(row["point"]), []).append(row)
        return [self._on_curve(recipe, some) for recipe, some in by_recipe.items()]

    def _on_curve(self, recipe: int, rows: list[dict[str, Any]]) -> Job[Any]:
        """Points of the curve of this rung and recipe, or that curve."""
        path, place = self._curve(recipe), {"rung": self.rung, "recipe": recipe}
        if self.ledger.find("curve", **place) is None or fault_of(path, load_curve):
            return CondenseCurves(
                key=f"condense the curve of rung {self.rung}, recipe {recipe}",
                lane=self.rung,
                starts=(Start(rung=self.rung, seed=self.config.seed),),
                recipe=recipe,
                counts=len(rows),
            )
        return Dial(
            key=f"dial {trial_name(rows[0]['number'])}",
            lane=self.rung,
            numbers=tuple(row["number"] for row in rows),
            points=tuple(self.space.place(row["point"]) for row in rows),
            recipe=recipe,
            path=path,
        )

    def _curve(self, recipe: int) -> Path:
        """Where the curve of this rung and recipe is stored."""
        return self.context.folder / curve_path(self.rung, recipe)

    def _curve_made(self, done: Done) -> list[Job[Any]]:
        """Keep the curve of this rung and recipe, and go on with points of it."""
        rungs, recipe = [start.rung for start in done.job.starts], done.job.recipe
        with signals_held():
            save_curve(done.result[rungs.index(self.rung)], self._curve(recipe))
            seconds = done.seconds / len(rungs)
            self.ledger.append("curve", rung=self.rung, recipe=recipe, seconds=seconds)
        own = [row for row in self._ask() if self.space.recipe(row["point"]) == recipe]
        return self._making([r for r in own if self.ledger.made(r["number"]) is None])

    def _together(self, rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Which sets are condensed in one job: fixed by the study, whatever the workers are.

        All sets of a rung, which share every view; where there is one rung only, halves of them on
        a CPU, so that two cores have work; and each by itself where networks grow up on it.
        """
        size = len(rows)
        if self.config.condense.pool:
            size = 1
        elif self.context.rungs == 1 and self.context.device == "cpu":
            size = math.ceil(size / 2)
        for start in range(0, len(rows), max(size, 1)):
            yield rows[start : start + size]

    def _condense(self, rows: list[dict[str, Any]]) -> Condense:
        normalisation = self._normalisation() if self.finished else None
        return Condense(
            key=f"condense {trial_name(rows[0]['number'])}",
            lane=self.rung,
            numbers=tuple(row["number"] for row in rows),
            tasks=tuple(
                Task(
                    weights=tuple(row["weights"].values()),
                    rung=self.rung,
                    seed=self.config.seed,
                    normalisation=normalisation,
                )
                for row in rows
            ),
        )

    def _stored(self, number: int, done: Done, place: int) -> Score:
        """Keep a set that was condensed; it is to be scored next."""
        made = done.result[place]
        losses = dict(zip(self.losses, made.losses, strict=True))
        seconds = done.seconds / len(done.result)
        with signals_held():
            save_set(made.synthetic, self.context.folder / set_path(trial_name(number)))
            self.ledger.append("condensed", trial=number, losses=losses, seconds=seconds)
        return self._score(number)

    def _score(self, number: int) -> Score:
        return self.work.score(trial_name(number), "validation", lane=self.rung)

    def _scored(self, done: Done) -> None:
        """Publish the scores of a trial, and add what is known exactly."""
        context, number = self.context, number_of(done.job.name)
        epsilon = context.ledger.epsilon(self.rung)
        facts = Facts(synthetic=load_set(done.job.path), epsilon=epsilon)
        with signals_held():  # what is published is paid for: it is noted, or lost
            rates = context.held_out["validation"].publish(done.result)
            found = estimates(rates, self.work.measures["validation"])
            wrong = [name for name, one in found.items() if not math.isfinite(one.mean + one.se)]
            if wrong:
                cause = f"{' and '.join(wrong)} came out infinite or not a number"
                self._note_failure(number, "scoring", cause)
                return
            self.ledger.append(
                "scored",
                trial=number,
                **scored_fields(context.complete(found, facts)),
                epsilon=epsilon if math.isfinite(epsilon) else None,
                seconds=done.seconds,
            )

    def _normalisation(self) -> Normalisation:
        """(ideal, nadir) from the rung's own anchors."""
        for number in self.schedule.batches[0]:
            if (event := self._event("failed", number)) is not None:
                raise StudyError(
                    f"{trial_name(number)} is an anchor, whose losses are the scale of all others, "
                    f"and has failed in {event['stage']}: {event['cause']}. Begin a study of "
                    "another name with other settings."
                )
        events = [self.ledger.made(number) for number in self.schedule.batches[0]]
        rows = [tuple(event["losses"].values()) for event in events if event is not None]
        return Normalisation.from_anchors(rows)

    def _tell(self, rows: list[dict[str, Any]]) -> None:
        """Tell the engine, in the order of the trials whatever order they finished in."""
        if self.engine is None:
            return
        numbers = {row["number"] for row in rows}
        for trial in read_trials(self.ledger):
            if trial.number in numbers:
                scores = [trial.scores[name] for name in self.measured]
                values = [one.mean for one in scores]
                self.engine.tell(trial.point, values, [one.se for one in scores])
