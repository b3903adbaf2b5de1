"""What every protocol is: a training for records of any shape, and a suite of attacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field

from moc.attacks.base import ATTACKS, Attack
from moc.attacks.gradient import PgdCe
from moc.attacks.threat import Threat
from moc.data.declared import DataInfo
from moc.evaluate.suites import SUITES, Suite
from moc.networks.architectures import AnyNetwork
from moc.networks.train import Training
from moc.parts import Family, Part


class TrainingProtocol(Part, ABC):
    """What is done to every set that is compared, so that only the sets differ.

    Whatever is left out is as the protocol has it for records of this shape.

    Attributes:
        network: Architecture trained on the set.
        epochs: Full passes over the set.
        batch: Records a step.
        lr: Learning rate of the first half.
        augmentation: `dsa` or `none`.
        attack: Attack every batch in training: adversarial training on S, another recipe than the
            plain training under which a set is claimed to be robust.
        suite: Attacks whose worst case is the robust error.
    """

    network: AnyNetwork | None = None
    epochs: int | None = Field(default=None, gt=0)
    batch: int | None = Field(default=None, gt=0)
    lr: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    augmentation: Literal["dsa", "none"] | None = None
    attack: Annotated[Attack, ATTACKS] | None = None
    suite: Annotated[Suite, SUITES]

    @abstractmethod
    def defaults(self, info: DataInfo) -> dict[str, Any]:
        """network, epochs, lr and augmentation for records of this shape."""

    def resolve(self, info: DataInfo, threat: Threat) -> Training:
        """The training for these records; `threat` bounds adversarial training, if it is asked for.

        Raises:
            StudyError: If a network does not take records of this shape.
        """
        chosen = self.defaults(info) | {
            key: value
            for key in ("network", "epochs", "batch", "lr", "augmentation", "attack")
            if (value := getattr(self, key)) is not None
        }
        lr = chosen.pop("lr")
        within = {"threat": threat} if self.attack is not None else {}
        return Training.model_validate({**chosen, **within, "sgd": {"lr": lr}})


PROTOCOLS: Family[TrainingProtocol] = Family(
    "protocols", TrainingProtocol, "moc.evaluate.protocols"
)

ADVERSARIAL = PgdCe(steps=4, random_start=True)
"""The attack of adversarial training on S, where it is asked for."""


def describe(training: Training, suite: Suite, threat: Threat) -> str:
    """Say in words what is done to a set, for the card."""
    first, sgd = training.epochs // 2 + 1, training.sgd
    decay = f", a tenth of it from epoch {first + 1} on" if first < training.epochs else ""
    epochs = "1 epoch" if training.epochs == 1 else f"{training.epochs} epochs"
    dsa = training.augmentation == "dsa"
    augmentation = "DSA augmentation, one draw a record" if dsa else "unaugmented"
    adversarial = (
        ""
        if training.attack is None
        else f"adversarial training (every batch under {training.attack.label} within "
        f"{training.threat.norm} {training.threat.eps:g}), "
    )
    attacks = ", ".join(attack.label for attack in suite.attacks)
    return (
        f"{training.network.name} from fresh weights, {epochs} of SGD "
        f"(learning rate {sgd.lr:g}{decay}; momentum {sgd.momentum:g}, weight decay "
        f"{sgd.weight_decay:g}, batches of {training.batch}), {augmentation}, {adversarial}"
        f"the last epoch counts. Robust error: a record is wrong if it falls to any of "
        f"{attacks}, each within {threat.norm} {threat.eps:g} of a pixel range of "
        "[0, 1]."
    )
