"""Search over weightings: ask for points, be told what they were worth, measure the front."""

from moc.search.base import ENGINES, Engine, make_engine

__all__ = ["ENGINES", "Engine", "make_engine"]
