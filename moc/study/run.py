"""Run a study: anchors, search, baselines, report; kill it anywhere and run it again."""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moc.condense.loop import Task
from moc.condense.scalarise import Normalisation
from moc.data.storage import load_set, save_set
from moc.errors import StudyError
from moc.evaluate.scoring import estimates
from moc.objectives.base import Facts
from moc.search.space import Point, Space
from moc.study.closing import Closing
from moc.study.config import StudyConfig
from moc.study.context import StudyContext, threads_of
from moc.study.executors import Done
from moc.study.jobs import Condense, Job, Score
from moc.study.records import StudyRecord, set_path, trial_name
from moc.study.reporter import Reporter, Silent
from moc.study.store import (
    StudyLedger,
    read_study,
    read_trials,
    rung_to_json,
    scores_to_json,
)
from moc.study.worklist import Worklist


def run_study(
    config: StudyConfig,
    folder: Path,
    *,
    reporter: Reporter | None = None,
    on_batch: Callable[[StudyRecord], None] | None = None,
) -> StudyRecord:
    """Run a study, or take up the one in `folder` where it was left.

    Args:
        config: A validated study file.
        folder: Where everything is kept; must hold no other study.
        reporter: Told about progress.
        on_batch: Called with the study so far after every batch of trials and at the end.

    Returns:
        The finished study.

    Raises:
        StudyError: If the folder holds a study of other settings, or another process runs it.
    """
    reporter = reporter or Silent()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder), threads_of(config):
        refuse_other_settings(config, folder)
        if StudyLedger(folder / "study.jsonl").find("finished") is None:
            context = StudyContext.load(config, folder, reporter)
            write_settings(config, folder)
            with Worklist(context) as work:
                _Run(context, work).all(on_batch)
        study = read_study(folder)
        if on_batch is not None:
            on_batch(study)
        return study


class _Run:
    """A study while it runs. Everything that matters is in the ledger; the rest is derived."""

    def __init__(self, context: StudyContext, work: Worklist) -> None:
        self.context, self.work, self.config = context, work, context.config
        self.ledger = StudyLedger(context.folder / "study.jsonl")
        context.held_out["validation"].already_published(len(self.ledger.all("scored")))
        if self.ledger.find("started") is None:
            self.ledger.append(
                "started",
                rungs=[rung_to_json(rung) for rung in context.evidence.rungs],
                frame=context.frame,
                protocol=context.describe(),
            )
        self.lanes = [_Lane(self, rung) for rung in range(context.rungs)]

    def all(self, on_batch: Callable[[StudyRecord], None] | None) -> None:
        """Every trial that is not finished yet, then baselines and report."""
        left = self.config.planned_trials - len(self.ledger.all("scored"))
        if left:
            title = f"condensing and scoring {left} trials"
            jobs = [job for lane in self.lanes for job in lane.advance()]
            for done in self.work.results(title, jobs, steps=2 * left):
                lane = self._lane_of(done)
                before = lane.finished
                self.work.submit(lane.take(done))
                if lane.finished > before:
                    self._batch_ended(on_batch)
        Closing(self.context, self.ledger, self.work).all()
        self.ledger.append("finished")

    def _lane_of(self, done: Done) -> _Lane:
        """Whose job was done."""
        return self.lanes[done.job.lane]

    def _batch_ended(self, on_batch: Callable[[StudyRecord], None] | None) -> None:
        study = read_study(self.context.folder)
        volume = study.hypervolume[-1]
        self.context.reporter.say(
            f"{len(study.trials)} of {self.config.planned_trials} trials, {len(study.front)} on "
            f"the front, hypervolume {volume:.3f}"
        )
        if on_batch is not None:
            on_batch(study)


class _Lane:
    """The search of one rung, by itself: batch after batch, the next once the last is scored.

    A set made from a rung costs that rung's epsilon only if nothing about it was decided by looking
    at rungs above, so every rung has an engine of its own, which is told the scores of its rung
    only, and the number of trials of each rung is fixed beforehand. Lanes go on side by side.

    Attributes:
        finished: Batches of which every trial is scored and told.
    """

    def __init__(self, run: _Run, rung: int) -> None:
        """Take up the search of a rung where the ledger left it."""
        self.run, self.rung, self.finished = run, rung, 0
        config, lanes = run.config, run.context.rungs
        self.losses = config.weighed
        self.space = Space.over(*self.losses)
        self.measured = [name for name, one in config.objectives.items() if not one.exact]
        self.batches = _batches(config, rung)
        self.replayed = 0
        self.engine = (
            config.search.engine.start(
                self.space, objectives=len(self.measured), seed=config.seed * lanes + rung
            )
            if len(self.losses) > 1
            else None
        )

    def advance(self) -> list[Job[Any]]:
        """Jobs of the first batch that is not finished; none if all are."""
        while self.finished < len(self.batches):
            rows = self._ask()
            jobs = self._jobs(rows)
            if jobs:
                return jobs
            self._tell(rows)
            self.finished += 1
        return []

    def take(self, done: Done) -> list[Job[Any]]:
        """Note a result, and say what is to be done next."""
        if isinstance(done.job, Condense):
            return [self._stored(number, done, k) for k, number in enumerate(done.job.numbers)]
        self._scored(done)
        rows = self._ask()
        waiting = any(self._event("scored", row["number"]) is None for row in rows)
        return [] if waiting else self.advance()

    def _event(self, kind: str, number: int) -> dict[str, Any] | None:
        return self.run.ledger.find(kind, trial=number)

    def _ask(self) -> list[dict[str, Any]]:
        """The trials of the batch in hand, as asked now or before."""
        numbers, place = self.batches[self.finished], {"rung": self.rung, "batch": self.finished}
        event = self.run.ledger.find("asked", **place)
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
            event = self.run.ledger.append("asked", **place, trials=rows)
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
        new = [row for row in rows if self._event("condensed", row["number"]) is None]
        made = [row for row in rows if row not in new]
        unscored = [row for row in made if self._event("scored", row["number"]) is None]
        scoring = [self._score(row["number"]) for row in unscored]
        return [*(self._condense(part) for part in self._together(new)), *scoring]

    def _together(self, rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Which sets are condensed in one job: fixed by the study, whatever the workers are.

        All sets of a rung, which share every view; where there is one rung only, halves of them on
        a CPU, so that two cores have work; and each by itself where networks grow up on it.
        """
        size = len(rows)
        if self.run.config.condense.pool:
            size = 1
        elif self.run.context.rungs == 1 and self.run.context.device == "cpu":
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
                    seed=self.run.config.seed,
                    normalisation=normalisation,
                )
                for row in rows
            ),
        )

    def _stored(self, number: int, done: Done, place: int) -> Score:
        """Keep a set that was condensed; it is to be scored next."""
        made = done.result[place]
        save_set(made.synthetic, self.run.context.folder / set_path(trial_name(number)))
        losses = dict(zip(self.losses, made.losses, strict=True))
        seconds = done.seconds / len(done.result)
        self.run.ledger.append("condensed", trial=number, losses=losses, seconds=seconds)
        return self._score(number)

    def _score(self, number: int) -> Score:
        return self.run.work.score(trial_name(number), "validation", lane=self.rung)

    def _scored(self, done: Done) -> None:
        """Publish the scores of a trial, and add what is known exactly."""
        context, number = self.run.context, int(done.job.name.rsplit("-", 1)[1])
        rates = context.held_out["validation"].publish(done.result)
        found = estimates(rates, self.run.work.measures["validation"])
        epsilon = context.ledger.epsilon(self.rung)
        facts = Facts(synthetic=load_set(done.job.path), epsilon=epsilon)
        self.run.ledger.append(
            "scored",
            trial=number,
            scores=scores_to_json(context.complete(found, facts)),
            epsilon=epsilon if math.isfinite(epsilon) else None,
            seconds=done.seconds,
        )

    def _normalisation(self) -> Normalisation:
        """(ideal, nadir) from the rung's own anchors."""
        events = [self._event("condensed", number) for number in self.batches[0]]
        rows = [tuple(event["losses"].values()) for event in events if event is not None]
        return Normalisation.from_anchors(rows)

    def _tell(self, rows: list[dict[str, Any]]) -> None:
        """Tell the engine, in the order of the trials whatever order they finished in."""
        if self.engine is None:
            return
        numbers = {row["number"] for row in rows}
        for trial in read_trials(self.run.ledger):
            if trial.number in numbers:
                scores = [trial.scores[name] for name in self.measured]
                values = [one.mean for one in scores]
                self.engine.tell(trial.point, values, [one.se for one in scores])


def _batches(config: StudyConfig, rung: int) -> list[list[int]]:
    """Numbers of the trials of a rung, batch by batch: its anchors, then the search's own."""
    anchors, rungs = len(config.weighed), config.rung_count
    first, size = anchors * rungs, max(config.search.batch // rungs, 1)
    own = list(range(first + rung, config.planned_trials, rungs))
    searched = [own[i : i + size] for i in range(0, len(own), size)]
    return [list(range(anchors * rung, anchors * (rung + 1))), *searched]


def refuse_other_settings(config: StudyConfig, folder: Path) -> None:
    """Check that a folder holds no study of other settings.

    Raises:
        StudyError: If it does.
    """
    path = folder / "config.json"
    if not path.exists():
        return
    settings = config.model_dump(mode="json")
    known = json.loads(path.read_text(encoding="utf-8"))
    changed = sorted(key for key in settings if settings[key] != known.get(key))
    if changed:
        raise StudyError(
            f"{folder} holds a study with other settings (they differ in: {', '.join(changed)}). "
            "A study is never continued under new settings: give it another name, or remove the "
            "folder (its privacy budget stays spent)."
        )


def write_settings(config: StudyConfig, folder: Path) -> None:
    """Write the settings, whole or not at all."""
    path, part = folder / "config.json", folder / "config.json.part"
    if not path.exists():
        settings = config.model_dump(mode="json")
        part.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        part.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second process out; the lock goes with the process, however it ends."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(f"Another process is running the study in {folder}.") from None
        yield
