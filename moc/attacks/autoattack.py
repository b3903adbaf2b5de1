"""The members of AutoAttack (arXiv 2003.01690), the targeted ones against every wrong class."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn
from typing_extensions import override

from moc.attacks.base import Attack, torchattacks
from moc.attacks.threat import Threat
from moc.attacks.victim import at_least_four

_OFFICIAL_QUERIES = 5000


class ApgdCe(Attack):
    """APGD on the cross-entropy."""

    kind: Literal["apgd-ce"] = "apgd-ce"

    @override
    def engine(self, victim: nn.Module, threat: Threat, classes: int, seed: int) -> Any:
        return torchattacks().APGD(victim, threat.norm, threat.eps, self.steps, seed=seed)


class ApgdT(Attack):
    """Targeted APGD on the DLR loss."""

    kind: Literal["apgd-t"] = "apgd-t"

    @override
    def head(self, logits: Tensor, y: Tensor) -> Tensor:
        return at_least_four(logits)

    @override
    def engine(self, victim: nn.Module, threat: Threat, classes: int, seed: int) -> Any:
        return torchattacks().APGDT(
            victim, threat.norm, threat.eps, self.steps, seed=seed, n_classes=classes
        )


class FabT(Attack):
    """Targeted FAB."""

    kind: Literal["fab-t"] = "fab-t"

    @override
    def engine(self, victim: nn.Module, threat: Threat, classes: int, seed: int) -> Any:
        return torchattacks().FAB(
            victim,
            threat.norm,
            threat.eps,
            self.steps,
            seed=seed,
            multi_targeted=True,
            n_classes=classes,
        )


class Square(Attack):
    """Square: random search, without gradients."""

    kind: Literal["square"] = "square"

    @override
    def engine(self, victim: nn.Module, threat: Threat, classes: int, seed: int) -> Any:
        # AutoAttack's own schedule of square sizes is made for its 5000 queries.
        shrink = self.steps < _OFFICIAL_QUERIES
        return torchattacks().Square(
            victim, threat.norm, threat.eps, self.steps, resc_schedule=shrink, seed=seed
        )
