"""Noise from the operating system's entropy: never seeded by a user, never logged."""

from __future__ import annotations

import math
import secrets
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from moc.errors import PrivacyError

Tier = Literal["standard", "hardened"]

TIERS: dict[Tier, str] = {
    "standard": "float64 Gaussian noise; not hardened against floating-point attacks",
    "hardened": "discrete Gaussian noise on the integer grid (OpenDP)",
}


def gaussian(size: int, *, std: float, tier: Tier) -> Tensor:
    """Fresh noise (size,), float64, in grid steps.

    Args:
        size: Number of coordinates, all drawn once from one stream.
        std: Standard deviation in grid steps.
        tier: `standard`: a float64 Gaussian from a Philox generator keyed with 128 bits of OS
            entropy. `hardened`: OpenDP's exact discrete Gaussian (arXiv 2004.00010), whose
            values are integers, so that sums on the grid stay exact. Its privacy, and that of
            the sum of two of them, differs from the continuous Gaussian's by less than anything
            a float64 can show once `std` is a few steps of the grid; ours is 10^4 and more.
    """
    if not 0 < std < math.inf:
        raise PrivacyError(f"Noise of positive standard deviation expected, found {std}.")
    if tier == "standard":
        return torch.from_numpy(_generator().standard_normal(size) * std)
    return _discrete(size, std)


def _generator() -> np.random.Generator:
    """A generator that nobody can repeat."""
    return np.random.Generator(np.random.Philox(key=secrets.randbits(128)))


def _discrete(size: int, std: float) -> Tensor:
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_gaussian
    from opendp.metrics import l2_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    domain, metric = vector_domain(atom_domain(T="i64")), l2_distance(T="f64")
    mechanism = make_gaussian(domain, metric, scale=std)
    chunks = [mechanism([0] * min(65536, size - i)) for i in range(0, size, 65536)]
    return torch.tensor([value for chunk in chunks for value in chunk], dtype=torch.float64)
