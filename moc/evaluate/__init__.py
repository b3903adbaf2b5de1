"""What a finished set is worth: fresh networks trained on it, attacked, counted, compared."""

from moc.evaluate.baselines import BASELINES, DECODED, select
from moc.evaluate.protocol import PROTOCOLS, Protocol, make_protocol
from moc.evaluate.scores import OBJECTIVES, Estimate, Scores
from moc.evaluate.scoring import score, suite_for, to_scores
from moc.evaluate.train import fit, train

__all__ = [
    "BASELINES",
    "DECODED",
    "OBJECTIVES",
    "PROTOCOLS",
    "Estimate",
    "Protocol",
    "Scores",
    "fit",
    "make_protocol",
    "score",
    "select",
    "suite_for",
    "to_scores",
    "train",
]
