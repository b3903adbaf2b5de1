"""Attacks along the gradient: FGSM, MI-FGSM and PGD on the cross-entropy or the margin.

Cross-entropy is softplus(soft gap): the two have the same direction, but where a confident
network's cross-entropy has the gradient 0 in float32, that of its gap is still of order 1.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from moc.attacks.base import Attack, Gap, torchattacks
from moc.attacks.threat import Threat
from moc.attacks.victim import hard_gap, soft_gap


class Fgsm(Attack):
    """One step along the gradient of the cross-entropy (arXiv 1412.6572)."""

    kind: Literal["fgsm"] = "fgsm"
    steps: Literal[1] = 1
    in_order: ClassVar[bool] = True
    gap: ClassVar[Gap | None] = staticmethod(soft_gap)

    @property
    @override
    def per_record(self) -> bool:
        return True

    @override
    def engine(self, victim: nn.Module, threat: Threat, classes: int, seed: int) -> Any:
        if threat.norm == "Linf":
            return torchattacks().FGSM(victim, threat.eps)
        return torchattacks().PGDL2(victim, threat.eps, threat.eps, 1, random_start=False)


class MiFgsm(Attack):
    """Steps with momentum along the gradient of the cross-entropy (arXiv 1710.06081); Linf only."""

    kind: Literal["mifgsm"] = "mifgsm"
    in_order: ClassVar[bool] = True
    gap: ClassVar[Gap | None] = staticmethod(soft_gap)

    @property
    @override
    def per_record(self) -> bool:
        return True

    @override
    def engine(self, victim: nn.Module, threat: Threat, classes: int, seed: int) -> Any:
        if threat.norm != "Linf":
            raise self.no_variant(threat)
        step = 2.5 * threat.eps / self.steps
        return torchattacks().MIFGSM(victim, threat.eps, step, self.steps)

    @override
    def finish(self, found: Tensor, x: Tensor) -> Tensor:
        """It divides by the mean gradient: a record without any gradient stays as it was."""
        return torch.where(found.isnan(), x, found)


class PgdCe(Attack):
    """Projected gradient steps on the cross-entropy (Madry et al., arXiv 1706.06083).

    Attributes:
        random_start: Start at a random point of the ball.
    """

    kind: Literal["pgd-ce"] = "pgd-ce"
    random_start: bool = False
    in_order: ClassVar[bool] = True
    gap: ClassVar[Gap | None] = staticmethod(soft_gap)

    @property
    @override
    def per_record(self) -> bool:
        return not self.random_start

    @override
    def engine(self, victim: nn.Module, threat: Threat, classes: int, seed: int) -> Any:
        library = torchattacks()
        pgd = library.PGD if threat.norm == "Linf" else library.PGDL2
        step = 2.5 * threat.eps / self.steps
        return pgd(victim, threat.eps, step, self.steps, self.random_start)


class PgdMargin(PgdCe):
    """The same on the largest wrong logit minus the right one."""

    kind: Literal["pgd-margin"] = "pgd-margin"
    gap: ClassVar[Gap | None] = staticmethod(hard_gap)
