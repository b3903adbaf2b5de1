"""How a running study tells a person where it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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

    def say(self, line: str) -> None:
        """See `Reporter`."""

    @contextmanager
    def stage(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """See `Reporter`."""
        del title
        yield _ignore


class Console(Reporter):
    """A live bar for the work in hand on a terminal; plain lines elsewhere."""

    def __init__(self) -> None:
        """Write to standard error, so that tables on standard output can be piped."""
        from rich.console import Console as RichConsole

        self._console = RichConsole(stderr=True)

    def say(self, line: str) -> None:
        """See `Reporter`."""
        self._console.print(line, highlight=False)

    @contextmanager
    def stage(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """See `Reporter`."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
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
            MofNCompleteColumn(),
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
