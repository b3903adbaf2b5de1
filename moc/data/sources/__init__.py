"""Where real records come from, one file a source."""

from moc.data.sources.base import SOURCES, Source

__all__ = ["SOURCES", "Source"]
