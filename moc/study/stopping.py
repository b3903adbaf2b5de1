"""Being stopped by a signal: what is being written is finished first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def signals_held() -> Iterator[None]:
    """Put signals that ask for an end off until what is being written is written."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(number: int, frame: FrameType | None) -> None:
    """Ask for an end, once: a second signal ends the process at once."""
    del frame
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(number)
