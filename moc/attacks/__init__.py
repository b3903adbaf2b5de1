"""Attacks on records in [0, 1]: torchattacks behind one door, with its known defects shut out.

What the door adds: records and results are checked, so that normalisation has to live inside the
model; steps are long enough for the budget; the model, its gradients and the random state of the
process are as before; no gradient is too small for float32. Carlini-Wagner and DeepFool are not
offered: in the first, pixels at exactly 0 or 1 cannot move, and neither has a budget.
"""

from moc.attacks.base import ATTACKS, Attack
from moc.attacks.threat import AttackError, Threat

__all__ = ["ATTACKS", "Attack", "AttackError", "Threat"]
