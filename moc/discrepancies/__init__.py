"""Discrepancies and the objectives built from them.

To add a discrepancy, subclass `Discrepancy` in a file of its own and name it here: the study file
can then ask for it, and the contract tests run on it.
"""

from moc.discrepancies.base import (
    Adversarial,
    Discrepancy,
    Encoded,
    Generalization,
    Objective,
    encode,
)
from moc.discrepancies.budget import PrivacyBudget
from moc.discrepancies.curvature import CurvatureRisk
from moc.discrepancies.feature import FeatureMean
from moc.discrepancies.gradient import GradientMatching
from moc.discrepancies.ridge import RidgeRisk
from moc.discrepancies.teacher import TeacherAgreement
from moc.errors import StudyError

DISCREPANCIES: dict[str, type[Discrepancy]] = {
    "feature-mean": FeatureMean,
    "gradient-matching": GradientMatching,
    "ridge-risk": RidgeRisk,
}

__all__ = [
    "DISCREPANCIES",
    "Adversarial",
    "CurvatureRisk",
    "Discrepancy",
    "Encoded",
    "FeatureMean",
    "Generalization",
    "GradientMatching",
    "Objective",
    "PrivacyBudget",
    "RidgeRisk",
    "TeacherAgreement",
    "encode",
    "make_discrepancy",
]


def make_discrepancy(name: str, *, ridge: float | None = None) -> Discrepancy:
    """A discrepancy by its name in study files; `ridge` is the λ of ridge risk."""
    if name not in DISCREPANCIES:
        raise StudyError(f"A discrepancy of {', '.join(DISCREPANCIES)} expected, found {name!r}.")
    kind = DISCREPANCIES[name]
    return RidgeRisk(ridge) if kind is RidgeRisk and ridge is not None else kind()
