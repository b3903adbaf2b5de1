"""Search engines, one file each: ask for points, be told what they were worth."""

from moc.search.engines.base import ENGINES, Engine, EngineSettings

__all__ = ["ENGINES", "Engine", "EngineSettings"]
