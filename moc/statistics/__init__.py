"""Statistics: bounded terms of records, whose sums may be released, and the same of S."""

from moc.statistics.base import STATISTICS, Statistic

__all__ = ["STATISTICS", "Statistic"]
