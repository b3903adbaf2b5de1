"""Condensation: B synthetic sets at once, each under its own weights."""

from moc.condense.loop import Condensed, Task, condense
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
    "Task",
    "condense",
    "make_proxies",
]
