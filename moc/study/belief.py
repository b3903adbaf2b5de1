"""Can a loss be believed: does it rank sets as what is measured afterwards does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from moc.study.records import StudyRecord, Trial

_FEWEST = 4


@dataclass(frozen=True, kw_only=True)
class Belief:
    """Rank correlation of a loss with the objective that it stands for.

    Attributes:
        objective: Its name.
        correlation: Spearman's, -1 to 1, of ranks within each curve; 1 where the loss orders sets
            as networks trained on them do, about 0 where it says nothing.
        error: Its standard error if there were no correlation, 1 / √(sets - curves).
        sets: How many were compared.
        curves: On how many curves (rung and recipe): losses of two are not comparable.
    """

    objective: str
    correlation: float
    error: float
    sets: int
    curves: int


def beliefs(study: StudyRecord) -> list[Belief]:
    """One for every objective with a loss; none of those with fewer than four sets on a curve.

    Of finished sets on validation records ("distillation correlation score", arXiv 2604.18811).
    """
    found = []
    for name in study.weighed:
        groups = [one for one in _groups(study, name) if len(one) >= _FEWEST]
        ranks = [
            _centred(np.array([[t.losses[name], t.scores[name].mean] for t in one]))
            for one in groups
        ]
        if not ranks:
            continue
        loss, score = np.concatenate(ranks).T
        scale = float(np.sqrt((loss**2).sum() * (score**2).sum()))
        if scale == 0.0:
            continue
        found.append(
            Belief(
                objective=name,
                correlation=float((loss * score).sum()) / scale,
                error=1 / (len(loss) - len(groups)) ** 0.5,
                sets=len(loss),
                curves=len(groups),
            )
        )
    return found


def _groups(study: StudyRecord, name: str) -> list[list[Trial]]:
    """Trials by curve, as far as their losses are known."""
    groups: dict[tuple[int, int], list[Trial]] = {}
    for trial in study.trials:
        if name in trial.losses:
            key = (trial.rung_index, study.space.recipe(trial.point))
            groups.setdefault(key, []).append(trial)
    return list(groups.values())


def _centred(values: np.ndarray) -> np.ndarray:
    """Ranks (n, 2) of the columns, less their means."""
    ranks = rankdata(values, axis=0)
    return ranks - ranks.mean(0)
