"""From a synthetic set to its scores: train, attack, count, and say how sure the result is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from moc.evaluate.robust import PRIVATE, robust_result
from moc.evaluate.scores import Estimate, Scores
from moc.evaluate.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from moc.data.synthetic import SyntheticSet
    from moc.evaluate.protocol import Protocol
    from moc.evaluate.robust import Suite
    from moc.evidence.held_out import Counts, HeldOut, Rates
    from moc.networks import Network


def suite_for(protocol: Protocol, held_out: HeldOut) -> Suite:
    """The attacks that may be used: the protocol's, or `PRIVATE` where each record is by itself.

    An attack that couples records would let one record of private data move the outcome of
    others, and the score by more than the noise was made for.
    """
    allowed = protocol.suite.per_record or not held_out.per_record
    return protocol.suite if allowed else PRIVATE


def outcome(
    networks: Sequence[Network], protocol: Protocol, *, suite: Suite, seeds: Sequence[int]
) -> Callable[[Tensor, Tensor], Tensor]:
    """What `HeldOut.count` sums for trained networks.

    Args:
        networks: R networks on one device.
        protocol: Gives the threat.
        suite: Attacks, from `suite_for`.
        seeds: Public seed of the attacks' random numbers for each network.

    Returns:
        A function of records (n, *shape) and labels (n,) to outcomes (n, R, 2) in {0, 1}: right as
        they are, right under every attack. A network whose weights are not finite gets nothing
        right.
    """

    def measure(x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(networks, seeds, strict=True)
        return torch.stack([_right(net, x, y, protocol, suite, seed) for net, seed in pairs], dim=1)

    return measure


def score(
    synthetic: SyntheticSet,
    *,
    protocol: Protocol,
    held_out: HeldOut,
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
) -> Counts:
    """Train one network for each seed on the set and count what they get right.

    The result is a function of the arguments alone. Use the same seeds for all sets that are
    compared (common random numbers), and others for the final report.

    Args:
        synthetic: The set.
        protocol: How to train and attack.
        held_out: The records; if they are private, the count must still be published with noise.
        seeds: Public seed of each of the R networks.
        device: Where to train and attack.

    Returns:
        Counts (R, 2) of records right as they are, and right under every attack.
    """
    networks = [train(synthetic, protocol, seed=seed, device=device) for seed in seeds]
    suite = suite_for(protocol, held_out)
    return held_out.count(outcome(networks, protocol, suite=suite, seeds=seeds))


def to_scores(rates: Rates, *, epsilon: float) -> Scores:
    """Errors with their standard errors from published rates (R, 2): right as is, under attack.

    An error is one minus the mean rate p over R networks. Its variance has two parts. The
    networks': the sample variance of their rates over R, never less than that of the noise, which
    is inside their spread; a single network shows no spread, so only the noise is counted. The
    records': p (1 - p) / n, with one success and one failure added to the n, since not a single
    mistake is no certainty. Averaging over networks makes the second part at most smaller, so it
    is right where they fail on the same records and a little too large elsewhere.

    Args:
        rates: Published means; noise may have carried them outside [0, 1], and they stay there.
        epsilon: What the ledger charges for the set; infinity in an open study.
    """
    error, robust_error = estimates(rates)
    return Scores(error=error, robust_error=robust_error, epsilon=epsilon)


def estimates(rates: Rates) -> list[Estimate]:
    """Errors with their standard errors of each column of published rates (R, m)."""
    return [_estimate(column, rates) for column in rates.values.unbind(1)]


def finite_weights(network: Network) -> bool:
    """Whether training has not diverged."""
    return all(bool(parameter.isfinite().all()) for parameter in network.parameters())


def _estimate(column: Tensor, rates: Rates) -> Estimate:
    """One minus the mean of the replicates (R,), with its standard error."""
    mean, replicates = float(column.mean()), len(column)
    spread = float(column.var()) if replicates > 1 else 0.0
    right = min(max(mean, 0.0), 1.0) * rates.records
    share = (right + 1) / (rates.records + 2)
    networks = max(spread, rates.noise**2) / replicates
    return Estimate(mean=1 - mean, se=math.sqrt(networks + share * (1 - share) / rates.records))


def _right(
    network: Network, x: Tensor, y: Tensor, protocol: Protocol, suite: Suite, seed: int
) -> Tensor:
    """Outcomes (n, 2) of one network, on the CPU."""
    if not finite_weights(network):
        return torch.zeros(len(x), 2)
    device = network.mean.device
    result = robust_result(
        network,
        x.to(device),
        y.to(device),
        suite=suite,
        threat=protocol.threat,
        classes=network.head.out_features,
        seed=seed,
    )
    return torch.stack((result.clean, result.robust), dim=1).float().cpu()
