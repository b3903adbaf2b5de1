"""The trials of a rung, batch by batch, and whether there is a next batch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from moc.search.front import Frame, hypervolume_history
from moc.study.config import StudyConfig
from moc.study.events import StudyLedger
from moc.study.standing import objective_values
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
        self._frame = Frame(
            ideal=tuple(frame[name][0] for name in self._objectives),
            nadir=tuple(frame[name][1] for name in self._objectives),
        )
        self.batches = _batches(config, rung)

    @property
    def skipped(self) -> int:
        """How many trials there will not be."""
        event = self._ledger.find("stopped", rung=self._rung)
        return sum(map(len, self.batches[event["batch"] :])) if event else 0

    def goes_on(self, batch: int) -> bool:
        """Whether there is to be a batch; one that was asked for, or of anchors, always is."""
        place = {"rung": self._rung, "batch": batch}
        if batch >= len(self.batches) or self._ledger.find("stopped", rung=self._rung):
            return False
        if batch == 0 or self._ledger.find("asked", **place):
            return True
        if why := self._reason():
            done, planned = (sum(map(len, some)) for some in (self.batches[:batch], self.batches))
            words = f"The search{self._of()} ended after {done} of {planned} trials: {why}"
            self._ledger.append("stopped", **place, why=words)
        return not why

    def _of(self) -> str:
        privacy = self._config.privacy
        return f" of epsilon {privacy.epsilons[self._rung]:g}" if privacy else ""

    def _reason(self) -> str:
        stop = self._config.search.stop
        if stop.hours is not None:
            self._clock.note()
        volumes: Sequence[float] = ()
        if stop.gain is not None:
            trials = [t for t in read_trials(self._ledger) if t.rung_index == self._rung]
            values, _ = objective_values([trial.scores for trial in trials], self._objectives)
            volumes = hypervolume_history(values, frame=self._frame).tolist()
        clock = self._clock
        return stop.reason(hours=clock.hours, job_hours=clock.job_hours, volumes=volumes)


def _batches(config: StudyConfig, rung: int) -> list[list[int]]:
    anchors, rungs = len(config.weighed), config.rung_count
    first, size = anchors * rungs, max(config.search.batch // rungs, 1)
    own = list(range(first + rung, config.planned_trials, rungs))
    searched = [own[i : i + size] for i in range(0, len(own), size)]
    return [list(range(anchors * rung, anchors * (rung + 1))), *searched]
