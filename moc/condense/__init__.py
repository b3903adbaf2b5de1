"""Condensation: B synthetic sets at once, each under its own weighting."""

from moc.condense.loop import Condensed, CondenseSettings, Task, condense
from moc.condense.pretrained import PretrainedBank, pretrain
from moc.condense.proxy import Proxies, Proxy, make_proxies
from moc.condense.scalarise import Linear, Normalisation, Scalariser, SmoothTchebycheff
from moc.condense.teacher import TeacherSettings, train_teachers

__all__ = [
    "CondenseSettings",
    "Condensed",
    "Linear",
    "Normalisation",
    "PretrainedBank",
    "Proxies",
    "Proxy",
    "Scalariser",
    "SmoothTchebycheff",
    "Task",
    "TeacherSettings",
    "condense",
    "make_proxies",
    "pretrain",
    "train_teachers",
]
