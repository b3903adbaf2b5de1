"""Policies: which set to take, of the trials (`rules`) or of any point of a curve (`curves`)."""

from moc.policy.curves import Place, best_place
from moc.policy.rules import BALANCED, Limits, Suggestion, check_limits, describe_limits, suggest

__all__ = [
    "BALANCED",
    "Limits",
    "Place",
    "Suggestion",
    "best_place",
    "check_limits",
    "describe_limits",
    "suggest",
]
