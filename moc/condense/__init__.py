"""Condensation: B synthetic sets at once, each under its own weights."""

from moc.condense.loop import Condensed, Start, Task, condense, condense_curves, losses_of
from moc.condense.proxy import make_proxies
from moc.condense.scalarise import SCALARISERS, Normalisation, Scalariser
from moc.condense.settings import CondenseSettings, PoolSettings

__all__ = [
    "SCALARISERS",
    "CondenseSettings",
    "Condensed",
    "Normalisation",
    "PoolSettings",
    "Scalariser",
    "Start",
    "Task",
    "condense",
    "condense_curves",
    "losses_of",
    "make_proxies",
]
