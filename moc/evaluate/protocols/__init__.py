"""Named protocols, one file each: how networks are trained on a set, and how they are attacked."""

from moc.evaluate.protocols.base import PROTOCOLS, TrainingProtocol, describe

__all__ = ["PROTOCOLS", "TrainingProtocol", "describe"]
