"""How sure a front is: who is on it with what probability, and its hypervolume with an interval.

Values that are compared were measured by the same networks on the same records, so that parts of
their errors are common. What is known to be common is treated so. The rest is treated as what makes
the answer less sure: each value's own where rows are compared, common where their height counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from moc.search.front import Frame, hypervolume, nondominated


@dataclass(frozen=True, kw_only=True)
class Volume:
    """How far the hypervolume of the front can be believed.

    Attributes:
        low: Lower end of an interval of 95 % for what the true scores of all trials are worth.
        high: Its upper end.
        halves: Of the front that one half of the networks chooses, as the other half measures it on
            the same records, so that luck on these is still in it; None where there are not two
            networks, or what each gave was not kept.
        tested: Of the front as measured again by fresh networks on test records; None if it was
            not, or not yet.
    """

    low: float
    high: float
    halves: float | None = None
    tested: float | None = None


def redrawn(
    values: np.ndarray,
    errors: np.ndarray,
    shared: np.ndarray | None = None,
    *,
    alike: bool = False,
    draws: int,
    seed: int,
) -> Iterator[np.ndarray]:
    """The values as they might come out if all were measured again: Gaussian, of these errors.

    Args:
        values: (n, m) means.
        errors: (n, m) standard errors, 0 where a value is exact.
        shared: (k, n, m), parts of the errors that come from k sources which all rows share: one
            standard normal number a source moves every value by its part. Their squares sum to no
            more than those of `errors`.
        alike: Whether what is left of the errors moves all rows alike, each column by itself, or
            every value by itself.
        draws: How many.
        seed: Public, not negative.

    Yields:
        (n, m).
    """
    generator, own = np.random.default_rng(seed), errors
    if shared is not None:
        own = np.sqrt((errors**2 - (shared**2).sum(0)).clip(0.0))
    shape = (1, values.shape[1]) if alike else values.shape
    for _ in range(draws):
        moved = values + own * generator.standard_normal(shape)
        if shared is not None:
            moved += np.tensordot(generator.standard_normal(len(shared)), shared, 1)
        yield moved


def probability_nondominated(
    values: np.ndarray,
    errors: np.ndarray,
    shared: np.ndarray | None = None,
    *,
    draws: int = 1000,
    seed: int,
) -> np.ndarray:
    """How often each row is on the front when all are measured again; see `redrawn`.

    What is not known to be shared moves every value by itself: fewer rows are told apart then than
    if it were.

    Args:
        values: (n, m) means, minimised.
        errors: (n, m) standard errors, 0 where a value is exact.
        shared: (k, n, m) parts of them from sources that all rows share.
        draws: Number of draws; the result's own standard error is at most 0.5 / sqrt(draws).
        seed: Public, not negative.

    Returns:
        (n,) in [0, 1]; 0 for rows with NaN or infinity.
    """
    wins = np.zeros(len(values))
    for again in redrawn(values, errors, shared, draws=draws, seed=seed):
        wins += nondominated(again)
    return wins / draws


def hypervolume_interval(
    values: np.ndarray,
    errors: np.ndarray,
    shared: np.ndarray | None = None,
    *,
    frame: Frame,
    draws: int = 500,
    seed: int,
) -> tuple[float, float]:
    """An interval of 95 % for the hypervolume that the rows' true values have.

    The basic bootstrap: measured again, the hypervolume comes out above that of `values` by about
    as much as that lies above the truth, since a front is made of what was lucky; so the quantiles
    of the draws are mirrored at it. What is not known to be shared moves all rows alike: by
    themselves its parts would average out, and the interval would be too narrow.

    Args:
        values: (n, m) means, minimised.
        errors: (n, m) standard errors, 0 where a value is exact.
        shared: (k, n, m) parts of them from sources that all rows share; see `redrawn`.
        frame: The frame.
        draws: Number of draws.
        seed: Public, not negative.

    Returns:
        Its ends, in [0, 1].
    """
    again = redrawn(values, errors, shared, alike=True, draws=draws, seed=seed)
    found = [hypervolume(one, frame=frame) for one in again]
    high, low = 2 * hypervolume(values, frame=frame) - np.quantile(found, [0.025, 0.975])
    return float(np.clip(low, 0.0, 1.0)), float(np.clip(high, 0.0, 1.0))


def hypervolume_of_halves(replicates: np.ndarray, *, frame: Frame) -> float:
    """Hypervolume of the front that one half of the replicates chooses, by the other half.

    The mean over both ways. Whoever was lucky in one half is not in the other, so the front is no
    better than it is for having been chosen; what all replicates share is luck in both.

    Args:
        replicates: (R, n, m), R at least 2: the values of each replicate, minimised. The halves
            are every other one.
        frame: The frame.
    """
    if len(replicates) < 2:
        raise ValueError(f"At least 2 replicates expected, found {len(replicates)}.")
    halves = replicates[::2].mean(0), replicates[1::2].mean(0)
    return sum(
        hypervolume(reported[nondominated(chosen)], frame=frame) / 2
        for chosen, reported in (halves, halves[::-1])
    )
