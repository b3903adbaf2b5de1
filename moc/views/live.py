"""Views that are brought up to date beside a running study, which never waits for them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from moc.errors import MocError
from moc.study.records import StudyRecord
from moc.views.base import View

PATIENCE = 120.0
"""Seconds that the end of a study waits for a view that is slow."""


class Live:
    """One view, written in a thread of its own.

    A view that fails while the study runs is said once, and tried again at the end only.
    """

    def __init__(self, view: View, say: Callable[[str], None]) -> None:
        """Bring `view` up to date, and tell `say` of what goes wrong."""
        self._view, self._say = view, say
        self._thread: Thread | None = None
        self._failure = self._hint = ""

    def reach(self) -> None:
        """Say before a study starts if the view cannot be written; the study does not need it."""
        try:
            self._view.reach()
        except MocError as error:
            self._fail(error)

    def update(self, study: StudyRecord) -> None:
        """Write the study so far, unless the last writing still goes on or has failed."""
        if not self._failure and not self._busy(0):
            self._start(study)

    def finish(self, study: StudyRecord, patience: float = PATIENCE) -> str:
        """Write the finished study.

        Args:
            study: The study.
            patience: Seconds to wait.

        Returns:
            What the view says of itself; empty where it could not be written.
        """
        self._hint = ""
        if not self._busy(patience):
            self._start(study)
        if self._busy(patience):
            self._say(f"A view ({self._view.kind}) has not answered for {patience:.0f} s. {_LATER}")
            return ""
        return self._hint

    def _busy(self, patience: float) -> bool:
        """Whether it is still being written after so many seconds."""
        if self._thread is not None:
            self._thread.join(patience)
        return self._thread is not None and self._thread.is_alive()

    def _start(self, study: StudyRecord) -> None:
        self._thread = Thread(target=self._write, args=(study,), daemon=True)
        self._thread.start()

    def _write(self, study: StudyRecord) -> None:
        try:
            self._hint = self._view.write(study)
        except MocError as error:
            self._fail(error)

    def _fail(self, error: MocError) -> None:
        if str(error) != self._failure:
            self._failure = str(error)
            self._say(f"The study goes on without this view of it. {error}")


_LATER = "The study is complete without it; `moc sync` writes it later."
