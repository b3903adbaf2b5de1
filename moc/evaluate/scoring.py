"""From a synthetic set to its scores: train, count what is measured, publish, estimate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moc.evaluate.measure import Measure
from moc.evaluate.scores import Estimate
from moc.evaluate.trained import Trained, networks_by
from moc.privacy.held_out import Counts, HeldOut, Rates


def count_outcomes(
    trained: Trained, *, measures: Mapping[str, Measure], held_out: HeldOut
) -> Counts:
    """Count the outcomes of every measure on networks trained on a set.

    The result is a function of the arguments alone.

    Args:
        trained: The R networks; measures with equal trainings share theirs.
        measures: What is counted, by objective.
        held_out: The records; if they are private, counts must still be published with noise.

    Returns:
        Counts (R, k): the columns of all measures side by side.
    """
    (found,) = count_together([trained], measures=measures, held_out=held_out)
    return found


def count_together(
    trained: Sequence[Trained], *, measures: Mapping[str, Measure], held_out: HeldOut
) -> list[Counts]:
    """Count the same for several sets, whose networks are trained and attacked as one stack.

    Args:
        trained: The R networks of each set.
        measures: As for `count_outcomes`.
        held_out: Likewise.

    Returns:
        For each set what `count_outcomes` gives, up to rounding.
    """
    networks = [networks_by(trained, measure.training) for measure in measures.values()]
    seeds, device = [seed for one in trained for seed in one.seeds], trained[0].device

    def outcomes(x: Tensor, y: Tensor) -> Tensor:
        x, y = x.to(device), y.to(device)
        columns = [
            measure.together(own, x, y, seeds=seeds).cpu()
            for measure, own in zip(measures.values(), networks, strict=True)
        ]
        return torch.cat(columns, dim=2).unflatten(1, (len(trained), -1))

    return held_out.count_each(outcomes, bound=outcome_bound(measures, len(trained[0].seeds)))


def publish_scores(
    trained: Trained, *, measures: Mapping[str, Measure], held_out: HeldOut
) -> dict[str, Estimate]:
    """Count the outcomes of a set, publish them, and estimate every objective.

    Args:
        trained: As for `count_outcomes`.
        measures: Likewise.
        held_out: Likewise; private records pay for each call.
    """
    counts = count_outcomes(trained, measures=measures, held_out=held_out)
    return estimates(held_out.publish(counts), measures)


def outcome_bound(measures: Mapping[str, Measure], networks: int) -> float:
    """Largest L2 norm of what one record adds to the counts of so many networks."""
    return math.sqrt(networks * sum(measure.bound**2 for measure in measures.values()))


def estimates(rates: Rates, measures: Mapping[str, Measure]) -> dict[str, Estimate]:
    """The estimate of every objective from published rates (R, k)."""
    columns = [measure.columns for measure in measures.values()]
    parts = rates.values.split(columns, dim=1)
    return {
        name: measure.estimate(Rates(values=part, noise=rates.noise, records=rates.records))
        for (name, measure), part in zip(measures.items(), parts, strict=True)
    }
