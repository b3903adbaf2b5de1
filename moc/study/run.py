"""Run a study: anchors, search, baselines, report; kill it anywhere and run it again."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moc.errors import StudyError
from moc.privacy.ledger import Ledger
from moc.study.closing import Closing
from moc.study.config import StudyConfig
from moc.study.context import StudyContext, threads_of
from moc.study.dry_run import dry_run
from moc.study.events import StudyLedger
from moc.study.executors import Done
from moc.study.jobs import CondenseCurves
from moc.study.lane import Lane
from moc.study.machine import repeats
from moc.study.mending import mend_scored
from moc.study.records import StudyRecord, trial_name
from moc.study.reporter import Reporter, Silent
from moc.study.schedule import Clock, goes_on_again
from moc.study.settings import (
    digest,
    is_written,
    refuse_other_settings,
    require_format,
    write_settings,
)
from moc.study.stopping import stoppable
from moc.study.store import read_study, rung_to_json
from moc.study.work import Job
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
        StudyError: If the folder holds a study of other settings or other data, or another process
            runs it.
    """
    reporter, known = reporter or Silent(), folder.exists()
    with stoppable(), locked(folder), threads_of(config):
        start_afresh(folder)
        if mended := refuse_other_settings(config, folder):
            reporter.say(mended)
        ledger = StudyLedger(folder / "study.jsonl")
        finished = ledger.finished and not goes_on_again(config, ledger)
        for words in mend_scored(config, ledger, folder) if finished else ():
            reporter.say(words)
        if not finished or not is_written(config, folder):
            try:
                context = StudyContext.load(config, folder, reporter)
                if not (folder / "config.json").exists():
                    dry_run(context, _run_all)
            except BaseException:
                if not known:
                    shutil.rmtree(folder)
                raise
            folder.chmod(0o700)  # one that was there before may be open to others
            write_settings(config, folder)
            if not finished:
                with Worklist(context) as work:
                    _Run(context, work).all(on_batch)
        study = read_study(folder)
        if on_batch is not None:
            on_batch(study)
        return study


def check_study(config: StudyConfig, folder: Path, *, reporter: Reporter) -> StudyContext:
    """Try out all of a study that needs no record of T, for `folder`; nothing is written there.

    Raises:
        MocError: If it cannot be run.
    """
    with threads_of(config):
        context = StudyContext.try_out(config, folder, reporter)
        dry_run(context, _run_all)
    return context


def _run_all(context: StudyContext) -> None:
    """Run a study from beginning to end, without any view of it."""
    write_settings(context.config, context.folder)
    with Worklist(context) as work:
        _Run(context, work).all(None)


class _Run:
    """A study while it runs. Everything that matters is in the ledger; the rest is derived."""

    def __init__(self, context: StudyContext, work: Worklist) -> None:
        self.context, self.work, self.config = context, work, context.config
        self.ledger = StudyLedger(context.folder / "study.jsonl")
        if self.ledger.damage:
            words = "What it noted is done again; nothing else is lost."
            context.reporter.say(f"Left out: {self.ledger.damage}. {words}")
        context.held_out["validation"].already_published(len(self.ledger.all("scored")))
        if self.ledger.find("started") is None:
            self.ledger.append(
                "started",
                settings=digest(self.config),
                rungs=[rung_to_json(rung) for rung in context.evidence.rungs],
                frame=context.frame,
                protocol=f"{context.describe()} {repeats(context.device)}",
            )
        if self.ledger.finished:
            self.ledger.append("reopened")
        clock, rungs = Clock(self.ledger), range(context.rungs)
        self.lanes = [Lane(context, self.ledger, work, rung, clock) for rung in rungs]

    def all(self, on_batch: Callable[[StudyRecord], None] | None) -> None:
        """Every trial that is not finished yet, then baselines and report."""
        for words in mend_scored(self.config, self.ledger, self.context.folder):
            self.context.reporter.say(words)
        jobs = self._together([job for lane in self.lanes for job in lane.advance()])
        if jobs:
            left = sum(lane.schedule.left for lane in self.lanes)
            title = f"condensing and scoring {left} trials"
            for done in self.work.results(title, jobs, steps=2 * left):
                for lane in self._lanes_of(done):
                    before = lane.finished
                    self.work.submit(lane.take(done))
                    if lane.finished > before:
                        self.work.spare(2 * lane.schedule.skipped)
                        self._batch_ended(on_batch)
        for event in self.ledger.stops:
            self.context.reporter.say(f"{event['why']}.")
        self._require_a_trial()
        Closing(self.context, self.ledger, self.work).all()
        self.ledger.append("finished")

    def _require_a_trial(self) -> None:
        """Refuse to end where every trial has failed."""
        failed = self.ledger.find("failed")
        if failed is not None and self.ledger.find("scored") is None:
            raise StudyError(
                f"Every trial has failed; {trial_name(failed['trial'])}, the first, in "
                f"{failed['stage']}: {failed['cause']}. Begin a study of another name with other "
                "settings."
            )

    def _lanes_of(self, done: Done) -> list[Lane]:
        """Whose job was done."""
        if isinstance(done.job, CondenseCurves):
            return [self.lanes[start.rung] for start in done.job.starts]
        return [self.lanes[done.job.lane]]

    def _together(self, jobs: list[Job[Any]]) -> list[Job[Any]]:
        """Where there are no processes to share the work, the curves of all rungs in one job."""
        curves = [job for job in jobs if isinstance(job, CondenseCurves)]
        if self.context.device == "cpu" or len(curves) < 2:
            return jobs
        joined = CondenseCurves(
            key="condense curves",
            starts=tuple(start for job in curves for start in job.starts),
            recipe=curves[0].recipe,
            counts=sum(job.counts for job in curves),
        )
        return [joined, *(job for job in jobs if job not in curves)]

    def _batch_ended(self, on_batch: Callable[[StudyRecord], None] | None) -> None:
        study = read_study(self.context.folder)
        volume = study.hypervolume[-1] if study.hypervolume else 0.0
        failed = f", {len(study.failed)} failed" if study.failed else ""
        self.context.reporter.say(
            f"{len(study.trials)} of {self.config.planned_trials} trials{failed}, "
            f"{len(study.front)} on the front, hypervolume {volume:.3f}"
        )
        if on_batch is not None:
            on_batch(study)


def start_afresh(folder: Path) -> None:
    """Forget what a study left that has made nothing and paid for nothing yet."""
    require_format(folder)
    paid = Ledger(None, path=folder / "privacy.jsonl").drawn
    made = StudyLedger(folder / "study.jsonl").find("condensed") is not None
    if not (paid or made or any(folder.glob("release-*"))):
        for name in ("config.json", "study.jsonl", "privacy.jsonl"):
            (folder / name).unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and keep a second process out; the lock goes with the process."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(f"Another process is running the study in {folder}.") from None
        yield
