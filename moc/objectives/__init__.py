"""Objectives: what a study minimises, one file each: words, unit, frame, a loss in S, a measure."""

from moc.objectives.base import OBJECTIVES, Frame, MeasureContext, Objective
from moc.objectives.units import UNITS, Unit

__all__ = ["OBJECTIVES", "UNITS", "Frame", "MeasureContext", "Objective", "Unit"]
