"""Epsilon from guesses at who was in: the one-run bound of arXiv 2305.08846.

Many records are in or out by independent fair coins, all at once, and the attack guesses some of
the coins. If what it saw was (epsilon, delta)-private, the number of right guesses is no larger, in
distribution, than that of biased coins, whatever the records have to do with each other. That
guesses about records of one run depend on each other is therefore no objection, as it is to an
interval for a rate.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import root_scalar
from scipy.special import expit
from scipy.stats import binom

_HIGH = 50.0  # no number of guesses that fits into a machine establishes more


def epsilon_lower(right: int, guesses: int, coins: int, *, delta: float, beta: float) -> float:
    """Lower bound on epsilon at `delta` that holds with probability 1 - `beta`.

    Args:
        right: How many guesses were right, v.
        guesses: How many were made, r, a number fixed beforehand; the choice of the coins to guess
            is free.
        coins: Number of coins, m.
        delta: Delta of the claim.
        beta: The chance that a sound mechanism exceeds the bound.
    """
    if right == 0 or _chance(0.0, right, guesses, coins, delta) >= beta:
        return 0.0

    def excess(epsilon: float) -> float:
        return _chance(epsilon, right, guesses, coins, delta) - beta

    if excess(_HIGH) <= 0:
        return _HIGH
    return float(root_scalar(excess, bracket=(0.0, _HIGH), method="brentq").root)


def _chance(epsilon: float, right: int, guesses: int, coins: int, delta: float) -> float:
    """Largest chance of so many right guesses under (epsilon, delta): their theorem 5.2."""
    q = expit(epsilon)
    tail = float(binom.sf(right - 1, guesses, q))
    if delta == 0:
        return tail
    fewer = np.arange(1, right + 1)
    slopes = (binom.sf(right - 1 - fewer, guesses, q) - tail) / fewer
    return tail + 2 * coins * delta * float(slopes.max())
