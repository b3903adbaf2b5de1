"""Named protocols: how networks are trained on a set, and how they are attacked afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, get_args

from moc.attacks import Attack
from moc.errors import StudyError
from moc.evaluate.robust import FAST, STANDARD
from moc.networks import NetworkSpec

if TYPE_CHECKING:
    from moc.attacks import Threat
    from moc.data.real import DataInfo
    from moc.evaluate.robust import Suite

AugmentationName = Literal["dsa", "none"]
Training = Literal["plain", "adversarial"]

TRAINING_ATTACK = Attack(name="pgd-ce", steps=4, random_start=True)
"""What `training = "adversarial"` attacks every batch with."""

_DECAY = 0.1
_SMALL = 16
"""Longest side, in pixels, of images for which two blocks do."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is done to every set that is compared, so that only the sets differ.

    Attributes:
        name: Name in study files and reports.
        network: Architecture trained on the set.
        epochs: Full passes over the set, E; one step each if the set fits into a batch.
        batch: Records a step.
        lr: Learning rate of SGD in epochs 0..E // 2; a tenth of it in the rest.
        momentum: Of SGD.
        weight_decay: Of SGD, on all parameters.
        augmentation: `dsa` (every record its own draw) or `none`.
        training: `plain`, or `adversarial`: every batch is attacked by `TRAINING_ATTACK` within
            the threat (Madry et al., arXiv 1706.06083). A set is claimed to be robust under plain
            training; adversarial training on S is another recipe and needs a column of its own.
        suite: Attacks whose worst case is the robust error.
        threat: Norm and budget of the attacks.
    """

    name: str
    network: NetworkSpec
    epochs: int
    batch: int = 256
    lr: float
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augmentation: AugmentationName
    training: Training = "plain"
    suite: Suite
    threat: Threat

    def __post_init__(self) -> None:
        """Check what a person may have written."""
        if self.epochs < 1 or self.batch < 1:
            raise StudyError(
                f"Protocol {self.name!r}: at least 1 epoch of batches of at least 1 record "
                f"expected, found {self.epochs} and {self.batch}."
            )
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise StudyError(
                f"Protocol {self.name!r}: a learning rate above 0 expected, found {self.lr}."
            )
        for field, known in (("augmentation", AugmentationName), ("training", Training)):
            if (found := getattr(self, field)) not in get_args(known):
                expected = " or ".join(map(repr, get_args(known)))
                raise StudyError(
                    f"Protocol {self.name!r}: {field} {expected} expected, found {found!r}."
                )

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0: divided by ten once, from E // 2 + 1 on."""
        return self.lr if epoch < self.epochs // 2 + 1 else self.lr * _DECAY

    def describe(self) -> str:
        """Say in words what is done, for the card."""
        first = self.epochs // 2 + 1
        decay = f", a tenth of it from epoch {first + 1} on" if first < self.epochs else ""
        augmentation = (
            "DSA augmentation, one draw a record" if self.augmentation == "dsa" else "unaugmented"
        )
        adversarial = (
            f"adversarial training (every batch under {TRAINING_ATTACK.label} within the same "
            "budget), "
            if self.training == "adversarial"
            else ""
        )
        attacks = ", ".join(attack.label for attack in self.suite.attacks)
        return (
            f"{self.network.name} from fresh weights, {_counted(self.epochs, 'epoch')} of SGD "
            f"(learning rate {self.lr:g}{decay}; momentum {self.momentum:g}, weight decay "
            f"{self.weight_decay:g}, batches of {self.batch}), {augmentation}, {adversarial}"
            f"the last epoch counts. Robust error: a record is wrong if it falls to any of "
            f"{attacks}, each within {self.threat.norm} {self.threat.eps:g} of a pixel range of "
            "[0, 1]."
        )


def standard(info: DataInfo, threat: Threat) -> Protocol:
    """The field's recipe (DSA, arXiv 2102.08259; DM, 2110.04181), for numbers that are compared.

    ConvNet-3 of width 128, SGD at 0.01 with batches of 256, 1000 epochs with DSA, the last epoch.
    Feature vectors, for which the field has no recipe, get an MLP and, as there is nothing to
    augment, the 300 epochs of unaugmented training (DC, 2006.05929).
    """
    return Protocol(
        name="standard",
        network=NetworkSpec.parse("convnet3-w128" if info.is_image else "mlp2-w256"),
        epochs=1000 if info.is_image else 300,
        lr=0.01,
        augmentation="dsa" if info.is_image else "none",
        suite=STANDARD,
        threat=threat,
    )


def fast(info: DataInfo, threat: Threat) -> Protocol:
    """A protocol for searches on a CPU: close to a long training, in seconds a network.

    Measured on random real records, 10 a class; mean test accuracy in percent over 8 pairs of
    subset and seed (3 for Fashion-MNIST), and seconds on one core:

    - digits, `convnet2-w32`: 150 epochs at 0.1 with DSA 95.4 (0.8 s); 1000 at 0.01 with DSA 95.9.
      Without augmentation, 200 at 0.03 give 93.7 and 2000 at 0.01 give 94.5. With DSA, width 16
      gives 94.5; three blocks lose points on 8 x 8.
    - Fashion-MNIST, `convnet3-w32`: 100 epochs at 0.03 without augmentation 72.9 (7 s); 500 give
      73.1, 600 with DSA 73.6.
    - digits as 64 features, `mlp2-w128`: 200 epochs at 0.03 88.8 (0.3 s); 3000 at 0.01 89.8.

    On eleven sets of digits, real and condensed, the two protocols with DSA of the first line
    agree on error within 1.5 points; the ranks correlate by 0.9, and as much for robust error.
    """
    if not info.is_image:
        network, epochs, lr, augmentation = "mlp2-w128", 200, 0.03, "none"
    elif max(info.shape[1:]) <= _SMALL:
        network, epochs, lr, augmentation = "convnet2-w32", 150, 0.1, "dsa"
    else:
        network, epochs, lr, augmentation = "convnet3-w32", 100, 0.03, "none"
    return Protocol(
        name="fast",
        network=NetworkSpec.parse(network),
        epochs=epochs,
        lr=lr,
        augmentation=augmentation,
        suite=FAST,
        threat=threat,
    )


PROTOCOLS = {"fast": fast, "standard": standard}
"""Protocols by their name in study files."""


def make_protocol(name: str, info: DataInfo, threat: Threat, **overrides: object) -> Protocol:
    """A named protocol, with some of its fields replaced.

    Args:
        name: A key of `PROTOCOLS`.
        info: Public facts about the data: the architecture depends on the record shape.
        threat: Norm and budget of the attacks.
        **overrides: Fields of `Protocol`; a network may be given by its short name.

    Raises:
        StudyError: If there is no such protocol or field, or a value does not fit.
    """
    if name not in PROTOCOLS:
        raise StudyError(f"A protocol of {', '.join(PROTOCOLS)} expected, found {name!r}.")
    known = {field.name for field in fields(Protocol)}
    if unknown := sorted(overrides.keys() - known):
        raise StudyError(
            f"A protocol has the fields {', '.join(sorted(known))}; found {', '.join(unknown)}."
        )
    if isinstance(network := overrides.get("network"), str):
        overrides["network"] = NetworkSpec.parse(network)
    return replace(PROTOCOLS[name](info, threat), **overrides)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
