"""The trials of a rung, batch by batch, and whether there is a next batch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from moc.search.front import hypervolume_history
from moc.study.config import StudyConfig
from moc.study.events import StudyLedger
from moc.study.standing import box_of, objective_values
from moc.study.store import read_trials

_TIMED = ("condensed", "curve", "scored")


class Clock:
    """How long a study has run, over all processes that worked on it.

    What was noted last counts: a process that is killed loses the time since.
    """

    def __init__(self, ledger: StudyLedger) -> None:
        """Go on where the ledger stopped."""
        self._ledger, self._since = ledger, time.monotonic()

    @property
    def hours(self) -> float:
        """Of running."""
        noted = sum(event["seconds"] for event in self._ledger.all("ran"))
        return (noted + time.monotonic() - self._since) / 3600

    @property
    def job_hours(self) -> float:
        """Of all jobs whose results are there."""
        events = [event for kind in _TIMED for event in self._ledger.all(kind)]
        return sum(event["seconds"] for event in events) / 3600

    def note(self) -> None:
        """Write down the time since the last note."""
        now = time.monotonic()
        self._ledger.append("ran", seconds=now - self._since)
        self._since = now


class Schedule:
    """What the search of one rung does next.

    It is judged by the rung's own trials alone, as its engine is: nothing that is decided about a
    rung may tell of the rungs above.

    Attributes:
        batches: Numbers of its trials, batch by batch: its anchors, then the search's own.
    """

    def __init__(
        self,
        config: StudyConfig,
        ledger: StudyLedger,
        rung: int,
        *,
        frame: Mapping[str, Sequence[float]],
        clock: Clock,
    ) -> None:
        """Schedule a rung.

        Args:
            config: The study.
            ledger: Its events.
            rung: Index of the rung.
            frame: Of hypervolumes: (ideal, nadir) by objective.
            clock: Of the study.
        """
        self._config, self._ledger, self._rung, self._clock = config, ledger, rung, clock
        self._objectives = {k: one for k, one in config.objectives.items() if not one.exact}
        self._box = box_of(frame, self._objectives)
        self.batches = _batches(config, rung)

    @property
    def left(self) -> int:
        """How many trials are to come: neither scored nor failed, nor left out by a rule."""
        event = self._stop()
        numbers = (n for batch in self.batches[: event["batch"] if event else None] for n in batch)
        found = self._ledger.find
        return sum(not (found("scored", trial=n) or found("failed", trial=n)) for n in numbers)

    @property
    def skipped(self) -> int:
        """How many trials there will not be."""
        event = self._stop()
        return sum(map(len, self.batches[event["batch"] :])) if event else 0

    @property
    def lifted(self) -> bool:
        """Whether the search was ended by rules that hold no more, and goes on by those of now."""
        ended = any(event["rung"] == self._rung for event in self._ledger.stops)
        return ended and self._stop() is None and not self._reason()

    def goes_on(self, batch: int) -> bool:
        """Whether there is to be a batch; one that was asked for, or of anchors, always is."""
        place = {"rung": self._rung, "batch": batch}
        if batch >= len(self.batches):
            return False
        if batch == 0 or self._ledger.find("asked", **place):
            return True
        if self._stop() is not None:
            return False
        if self._config.search.stop.hours is not None:
            self._clock.note()
        if why := self._reason():
            done, planned = (sum(map(len, some)) for some in (self.batches[:batch], self.batches))
            words = f"The search{self._of()} ended after {done} of {planned} trials: {why}"
            self._ledger.append("stopped", **place, why=words, rules=self._rules)
        return not why

    @property
    def _rules(self) -> dict[str, float | None]:
        return self._config.search.stop.model_dump(mode="json")

    def _stop(self) -> dict[str, Any] | None:
        """The note that the search has ended, by the rules of now."""
        for event in self._ledger.stops:
            if event["rung"] == self._rung and event.get("rules", self._rules) == self._rules:
                return event
        return None

    def _of(self) -> str:
        privacy = self._config.privacy
        return f" of epsilon {privacy.epsilons[self._rung]:g}" if privacy else ""

    def _reason(self) -> str:
        stop = self._config.search.stop
        volumes: Sequence[float] = ()
        if stop.gain is not None:
            own = {number for batch in self.batches for number in batch}
            trials = [trial for trial in read_trials(self._ledger) if trial.number in own]
            values, _ = objective_values([trial.scores for trial in trials], self._objectives)
            volumes = hypervolume_history(values, frame=self._box).tolist()
        clock = self._clock
        return stop.reason(hours=clock.hours, job_hours=clock.job_hours, volumes=volumes)


def goes_on_again(config: StudyConfig, ledger: StudyLedger) -> bool:
    """Whether a study that ended by its rules goes on, as these were changed since."""
    started, clock = ledger.find("started"), Clock(ledger)
    return started is not None and any(
        Schedule(config, ledger, rung, frame=started["frame"], clock=clock).lifted
        for rung in {event["rung"] for event in ledger.stops}
    )


def _batches(config: StudyConfig, rung: int) -> list[list[int]]:
    anchors, rungs = len(config.weighed), config.rung_count
    first, size = anchors * rungs, max(config.search.batch // rungs, 1)
    own = list(range(first + rung, config.planned_trials, rungs))
    searched = [own[i : i + size] for i in range(0, len(own), size)]
    return [list(range(anchors * rung, anchors * (rung + 1))), *searched]
