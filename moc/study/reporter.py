"""How a running study tells a person where it is."""

from __future__ import annotations

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


class Console(Reporter):
    """A live bar for the work in hand on a terminal; plain lines elsewhere."""

    def __init__(self) -> None:
        """Write to standard error, so that tables on standard output can be piped."""
        from rich.console import Console as RichConsole

        self._console = RichConsole(stderr=True)

    @override
    def say(self, line: str) -> None:
        self._console.print(line, highlight=False)

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
            yield _ignore
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


def _ignore(done: int, total: int) -> None:
    """Show nothing."""
    del done, total
