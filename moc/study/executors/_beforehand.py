"""What jobs need, imported by a process that workers are then copies of: five seconds, once."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

import moc.study.context
import moc.study.jobs  # noqa: F401
from moc.attacks.base import torchattacks
from moc.errors import MocError

with suppress(MocError):
    torchattacks()
with suppress(ImportError):
    import_module("torch._dynamo")  # which the first step of an optimiser imports otherwise
