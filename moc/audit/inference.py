"""Membership inference: from how sure networks are of a record to whether it was in their data.

An attack is given the log-odds (n,) of one target run, and of other runs, the shadows, log-odds
(s, n) and who was in (s, n); it returns a score (n,), larger for records that it takes for members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributions import Normal

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Attack = Callable[[Tensor, Tensor, Tensor], Tensor]


def log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """How sure a network is of the right label, log p / (1 - p), (n,) float64.

    Args:
        logits: (n, c); a network that diverged says nothing.
        y: Right labels (n,).
    """
    logits, place = logits.double(), y[:, None]
    others = logits.scatter(1, place, -torch.inf).logsumexp(1)
    return (logits.gather(1, place)[:, 0] - others).nan_to_num(0.0, posinf=0.0, neginf=0.0)


def likelihood_ratio(target: Tensor, shadows: Tensor, member: Tensor) -> Tensor:
    """LiRA, online (arXiv 2112.03570): a Gaussian for every record in, and one for it out.

    The two variances are shared by all records, as they advise for few shadows. A record that the
    shadows never saw in, or never out, scores 0.
    """
    inside, outside = _normal(shadows, member), _normal(shadows, ~member)
    return (inside.log_prob(target) - outside.log_prob(target)).nan_to_num(0.0)


def _normal(shadows: Tensor, chosen: Tensor) -> Normal:
    count = chosen.sum(0)
    mean = (shadows * chosen).sum(0) / count  # NaN where there is none
    residuals = torch.where(chosen, shadows - mean, 0.0)
    freedom = (chosen.sum() - (count > 0).sum()).clamp_min(1)
    deviation = (residuals.square().sum() / freedom).sqrt().clamp_min(1e-6)
    return Normal(mean, deviation.expand_as(mean), validate_args=False)


def relative(target: Tensor, shadows: Tensor, member: Tensor) -> Tensor:
    """RMIA at γ = 1 (arXiv 2312.03262): how many records gained no more than this one.

    The gain of a record is its probability over the mean of the shadows', with it and without it.
    The population that it is compared with are the records of T themselves, in or out.
    """
    del member  # about half of the shadows had the record
    gain = torch.nn.functional.logsigmoid(target) - (
        torch.nn.functional.logsigmoid(shadows).logsumexp(0) - torch.tensor(len(shadows)).log()
    )
    order = gain.sort().values
    return torch.searchsorted(order, gain, right=True).double() / len(gain)


ATTACKS: dict[str, Attack] = {"LiRA": likelihood_ratio, "RMIA": relative}


def attack_runs(
    attack: Attack, odds: Tensor, member: Tensor, shadows_of: Callable[[int], list[int]]
) -> Tensor:
    """Scores (R, n): every run the target once, attacked with the shadows that are named for it.

    Args:
        attack: The attack.
        odds: Log-odds (R, n).
        member: Who was in (R, n), bool.
        shadows_of: Numbers of the runs that may be used against a run.
    """
    chosen = [shadows_of(run) for run in range(len(odds))]
    return torch.stack([attack(odds[t], odds[s], member[s]) for t, s in enumerate(chosen)])
