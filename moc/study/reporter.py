"""How a running study tells a person where it is."""

from __future__ import annotations

import json
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from typing_extensions import override


class Reporter(ABC):
    """Told what a study does; the base of the console display and of silence."""

    @abstractmethod
    def say(self, line: str) -> None:
        """Show one line that stays."""

    @abstractmethod
    def stage(self, title: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Announce a piece of work; call what it gives with (done, total)."""


class Silent(Reporter):
    """Says nothing."""

    @override
    def say(self, line: str) -> None:
        pass

    @override
    @contextmanager
    def stage(self, title: str) -> Iterator[Callable[[int, int], None]]:
        del title
        yield _ignore


class Json(Reporter):
    """One JSON object a line on standard error, for programs."""

    @override
    def say(self, line: str) -> None:
        self._write(say=re.sub(r"\[/?[a-z ]*\]", "", line))

    @override
    @contextmanager
    def stage(self, title: str) -> Iterator[Callable[[int, int], None]]:
        self._write(stage=title)
        every = Seldom()
        yield lambda done, total: every(lambda: self._write(stage=title, done=done, total=total))
        self._write(stage=title, finished=True, seconds=round(every.seconds, 2))

    def _write(self, **fields: object) -> None:
        sys.stderr.write(json.dumps(fields) + "\n")
        sys.stderr.flush()


class Seldom:
    """Lets something be said every few seconds.

    Attributes:
        seconds: Since the beginning.
    """

    def __init__(self, every: float = 5.0) -> None:
        """Begin now; the first time is after `every` seconds."""
        self._start = self._last = time.monotonic()
        self._every = every

    @property
    def seconds(self) -> float:
        """See above."""
        return time.monotonic() - self._start

    def __call__(self, say: Callable[[], None]) -> None:
        """Say it if it is time."""
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            say()


class Console(Reporter):
    """A live bar for the work in hand on a terminal; elsewhere a line every few seconds."""

    def __init__(self) -> None:
        """Write to standard error, so that tables on standard output can be piped."""
        from rich.console import Console as RichConsole

        self._console = RichConsole(stderr=True)

    @override
    def say(self, line: str) -> None:
        # A log has whole lines; a terminal wraps them at words.
        whole = not self._console.is_terminal
        self._console.print(line, highlight=False, soft_wrap=whole)

    @override
    @contextmanager
    def stage(self, title: str) -> Iterator[Callable[[int, int], None]]:
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        if not self._console.is_terminal:
            self.say(f"  {title}")
            every = Seldom()

            def tell(done: int, total: int) -> None:
                every(lambda: self.say(f"  {title}: {_pace(done, total, every.seconds)}"))

            yield tell
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        self.say(f"  [green]✓[/green] {title}")


def reporter_for(*, quiet: bool, as_json: bool) -> Reporter:
    """What a command's options ask for."""
    if quiet:
        return Silent()
    return Json() if as_json else Console()


def _pace(done: int, total: int, seconds: float) -> str:
    """How far, how fast, and how long still: `12 of 40, 0.5 a second, 56 s left`."""
    rate = done / seconds if seconds else 0.0
    left = f", {(total - done) / rate:.0f} s left" if rate else ""
    return f"{done} of {total}, {rate:.2g} a second{left}"


def _ignore(done: int, total: int) -> None:
    """Show nothing."""
    del done, total
