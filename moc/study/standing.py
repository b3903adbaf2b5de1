"""Where the trials of a study stand: the front, how sure it is, and its hypervolume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from moc.evaluate.scores import Scores
from moc.objectives.base import Objective
from moc.search.certainty import (
    Volume,
    hypervolume_interval,
    hypervolume_of_halves,
    probability_nondominated,
)
from moc.search.front import Frame, hypervolume, hypervolume_history, nondominated
from moc.study.records import Trial


def objective_values(
    scores: Sequence[Scores], objectives: Mapping[str, Objective]
) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, m) of the objectives on their scales, and their standard errors."""
    shape = (len(scores), len(objectives))
    values = [[one.scaled(row[name].mean) for name, one in objectives.items()] for row in scores]
    errors = [[row[name].se for name in objectives] for row in scores]
    return np.array(values, dtype=float).reshape(shape), np.array(errors, float).reshape(shape)


def box_of(frame: Mapping[str, Sequence[float]], objectives: Iterable[str]) -> Frame:
    """The box of hypervolumes over these objectives, from a study's (ideal, nadir) of each."""
    ideal, nadir = zip(*(frame[name] for name in objectives), strict=True)
    return Frame(ideal=ideal, nadir=nadir)


def replicate_values(
    scores: Sequence[Scores], objectives: Mapping[str, Objective]
) -> np.ndarray | None:
    """Values (R, n, m) by network, on the objectives' scales; an exact one is the same for all.

    None where they are not known of every score, as in studies of an earlier moc, or R is 1.
    """
    measured = [name for name, one in objectives.items() if not one.exact]
    counts = {len(row[name].replicates) for row in scores for name in measured}
    count = counts.pop() if len(counts) == 1 else 0
    if count < 2:
        return None
    rows = [
        [
            [one.scaled(value) for value in row[name].replicates or (row[name].mean,) * count]
            for name, one in objectives.items()
        ]
        for row in scores
    ]
    return np.array(rows, dtype=float).transpose(2, 0, 1)


def standing(
    trials: Sequence[Trial],
    objectives: Mapping[str, Objective],
    frame: Mapping[str, Sequence[float]] | None,
    *,
    seed: int,
) -> dict[str, Any]:
    """The fields of a `StudyRecord` that say where its trials stand."""
    if not trials or frame is None:
        return {}
    scores = [trial.scores for trial in trials]
    values, errors = objective_values(scores, objectives)
    box = box_of(frame, objectives)
    replicates = replicate_values(scores, objectives)
    shared = None if replicates is None else _parts_of_networks(replicates)
    chances = probability_nondominated(values, errors, shared, seed=seed)
    low, high = hypervolume_interval(values, errors, shared, frame=box, seed=seed)
    order, mask = np.lexsort(values.T[::-1]), nondominated(values)
    front = [trials[k] for k in order if mask[k]]
    return {
        "front": tuple(trial.number for trial in front),
        "p_nondominated": {
            trial.number: float(chance) for trial, chance in zip(trials, chances, strict=True)
        },
        "hypervolume": tuple(float(v) for v in hypervolume_history(values, frame=box)),
        "volume": Volume(
            low=low,
            high=high,
            halves=None if replicates is None else hypervolume_of_halves(replicates, frame=box),
            tested=_tested(front, objectives, box),
        ),
    }


def _parts_of_networks(replicates: np.ndarray) -> np.ndarray:
    """Parts (R, n, m) of standard errors that come from the networks, which all trials meet.

    (Y_r - mean) / √(R (R - 1)): the products of two trials' parts sum to the sample covariance of
    their means.
    """
    count = len(replicates)
    return (replicates - replicates.mean(0)) / math.sqrt(count * (count - 1))


def _tested(
    front: Sequence[Trial], objectives: Mapping[str, Objective], box: Frame
) -> float | None:
    """Hypervolume of the front's scores on test records; None until all of it has them."""
    reports = [trial.report for trial in front if trial.report is not None]
    if len(reports) < len(front):
        return None
    return hypervolume(objective_values(reports, objectives)[0], frame=box)
