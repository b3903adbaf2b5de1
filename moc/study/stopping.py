"""Being stopped by a signal: what is being written is finished first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which a person or a system asks a study to stop."""


class Stopped(BaseException):
    """A study was asked to stop, by Ctrl-C or a signal. No error: nothing on the way catches it.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        """By this signal."""
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Let signals that ask for an end raise `Stopped` here, so that workers are let go.

    A signal that is ignored, as under `nohup`, stays so. In a thread nothing changes.
    """
    if current_thread() is not main_thread():
        yield
        return
    heard = [one for one in STOPS if signal.getsignal(one) is not signal.SIG_IGN]
    before = [(one, signal.signal(one, _stop)) for one in heard]
    try:
        yield
    finally:
        for one, handler in before:
            signal.signal(one, handler)


@dataclass
class _Hold:
    """How many writings go on in the main thread, and the signal that waits for their end."""

    depth: int = 0
    waiting: int | None = None


_HOLD = _Hold()


@contextmanager
def signals_held() -> Iterator[None]:
    """Put signals that ask for an end off until what is being written is written.

    Blocking them does for this thread only: one that another thread takes reaches the handler of
    the main thread all the same, which waits then.
    """
    if current_thread() is not main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    _HOLD.depth += 1
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _HOLD.depth -= 1
        number = _HOLD.waiting
        if number is not None and not _HOLD.depth:
            _HOLD.waiting = None
            _stop(number, None)


def _stop(number: int, frame: FrameType | None) -> None:
    """Ask for an end, once: a second signal ends the process at once."""
    del frame
    if _HOLD.depth:
        _HOLD.waiting = number
        return
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(number)
