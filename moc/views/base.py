"""What every view is: something that a person looks at, written from a finished study."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from moc.parts import Family, Part
from moc.study.records import StudyRecord


class View(Part, ABC):
    """A view of a study; it can be written again from the study folder at any time.

    Attributes:
        live: Whether it is brought up to date after every batch of trials too.
    """

    live: ClassVar[bool] = False

    def reach(self) -> None:
        """Find out beforehand, within seconds and leaving nothing, whether it can be written.

        Raises:
            MocError: If it cannot.
        """

    @abstractmethod
    def write(self, study: StudyRecord) -> str:
        """Write it, and say where it is and how to look at it; empty where that is plain."""


VIEWS: Family[View] = Family("views", View, "moc.views")
