"""From a synthetic set to its scores: train, count what is measured, publish, estimate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moc.data.synthetic import SyntheticSet
from moc.evaluate.measure import Measure
from moc.evaluate.scores import Estimate
from moc.networks.network import Network, finite_weights
from moc.networks.train import Training, train
from moc.privacy.held_out import Counts, HeldOut, Rates


def count_outcomes(
    synthetic: SyntheticSet,
    *,
    measures: Mapping[str, Measure],
    held_out: HeldOut,
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
) -> Counts:
    """Train one network for each seed on the set and count the outcomes of every measure.

    The result is a function of the arguments alone. Use the same seeds for all sets that are
    compared (common random numbers), and others for the final report. Measures with equal
    trainings share their networks.

    Args:
        synthetic: The set.
        measures: What is counted, by objective.
        held_out: The records; if they are private, counts must still be published with noise.
        seeds: Public seed of each of the R networks, and of attacks on it.
        device: Where to train and attack.

    Returns:
        Counts (R, k): the columns of all measures side by side.
    """
    trained: dict[Training, list[Network]] = {}
    for measure in measures.values():
        if measure.training not in trained:
            trained[measure.training] = [
                train(synthetic, measure.training, seed=seed, device=device) for seed in seeds
            ]

    def outcomes(x: Tensor, y: Tensor) -> Tensor:
        x, y = x.to(device), y.to(device)
        return torch.cat(
            [
                _of(measure, trained[measure.training], x, y, seeds).cpu()
                for measure in measures.values()
            ],
            dim=2,
        )

    return held_out.count(outcomes, bound=outcome_bound(measures, len(seeds)))


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


def _of(
    measure: Measure, networks: Sequence[Network], x: Tensor, y: Tensor, seeds: Sequence[int]
) -> Tensor:
    """Outcomes (n, R, k) of one measure."""
    return torch.stack(
        [
            measure.outcomes(network, x, y, seed=seed).float()
            if finite_weights(network)
            else measure.diverged(y).float()
            for network, seed in zip(networks, seeds, strict=True)
        ],
        dim=1,
    )
