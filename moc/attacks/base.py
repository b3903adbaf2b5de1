"""What every attack is: a part that perturbs records, with the defects of torchattacks shut out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from moc.attacks.threat import AttackError, Threat, check_records, check_result
from moc.attacks.victim import Victim, as_images, climb, untouched
from moc.parts import Family, Part

Gap = Callable[[Tensor, Tensor], Tensor]
"""From logits (n, classes) and labels (n,) to what an attack climbs (n,)."""


class Attack(Part, ABC):
    """One untargeted attack; call it to perturb records.

    Attributes:
        steps: Gradient steps, for each target class where there are targets; queries for
            `square`.
        per_record: Whether the result for one record does not depend on which others are in the
            call. A private study may use no other attack: random numbers are drawn by position, so
            that one record more or less would change the perturbation of all that follow. It also
            keeps to calls of one shape, since kernels round differently for different numbers of
            records.
        in_order: Whether the model is given the whole call, in order, each time, so that it may be
            several that have their own part of it each.
    """

    steps: int = Field(gt=0)
    gap: ClassVar[Gap | None] = None
    in_order: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """Name with the number of steps, such as `apgd-ce-100`."""
        return f"{self.kind}-{self.steps}"

    @property
    def per_record(self) -> bool:
        """See the class."""
        return False

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        threat: Threat,
        classes: int,
        seed: int,
        trusted: bool = False,
    ) -> Tensor:
        """Perturb every record so that the model gets it wrong, as far as the attack can.

        Args:
            model: Maps records (n, *shape) in [0, 1] to logits (n, classes). Attacked in
                evaluation mode; modes, `requires_grad` flags and `.grad` are left as they were.
                It is given the whole call, in order, by those that are `in_order`, and subsets
                of it by the others.
            x: Records (n, *shape) in [0, 1], images or vectors.
            y: Right labels (n,).
            threat: The norm and the budget.
            classes: Number of logits.
            seed: Public seed. The random state of the process is neither read nor changed.
            trusted: Whether the records were checked before: then nothing is checked but on a CPU,
                where no kernel has to be waited for.

        Returns:
            Perturbed records (n, *shape) in [0, 1], detached, within the budget to 1e-6.

        Raises:
            AttackError: If the records are outside [0, 1], the labels do not fit, or the model
                has another number of logits or no gradient.
        """
        checked = not trusted or x.device.type == "cpu"
        if checked:
            check_records(x, y, classes)
        if threat.eps == 0 or len(x) == 0:
            return x.detach().clone()
        images, y = as_images(x.detach()), y.to(device=x.device, dtype=torch.int64)
        victim = Victim(model, x, lambda logits: self.head(logits, y), classes)
        engine = self.engine(victim, threat, classes, seed)
        labels = y if type(self).gap is None else torch.zeros_like(y)
        with untouched(model), _forked(seed), torch.enable_grad():
            found = engine(images, labels).detach()
        found = found.flatten(1)[:, : x[0].numel()].reshape(x.shape)
        found = self.finish(found, x.detach())
        if checked:
            check_result(found, x, threat)
        return found

    def head(self, logits: Tensor, y: Tensor) -> Tensor:
        """What the engine sees of the logits (n, classes)."""
        gap = type(self).gap
        return torch.clone(logits) if gap is None else climb(gap(logits, y))  # square writes to it

    @abstractmethod
    def engine(self, victim: nn.Module, threat: Threat, classes: int, seed: int) -> Any:  # noqa: ANN401
        """The attack of torchattacks: maps images and labels to perturbed images.

        Raises:
            AttackError: If it has no variant for the threat's norm.
        """

    def finish(self, found: Tensor, x: Tensor) -> Tensor:
        """Mend what the engine is known to return wrongly."""
        del x
        return found

    def no_variant(self, threat: Threat) -> AttackError:
        """What to say of a norm that this attack has no variant for."""
        return AttackError(f"{self.kind} has no {threat.norm} variant; use pgd-ce or pgd-margin.")


ATTACKS: Family[Attack] = Family("attacks", Attack, "moc.attacks")


def torchattacks() -> ModuleType:
    """The library, imported when it is used.

    Raises:
        AttackError: If it is not installed.
    """
    try:
        import torchattacks
    except ModuleNotFoundError as error:
        raise AttackError(
            "Attacks need torchattacks, which is not installed. Its metadata pins a version of "
            "requests that no current MLflow accepts, so install it by itself: "
            "pip install --no-deps torchattacks==3.5.1"
        ) from error
    return torchattacks


@contextmanager
def _forked(seed: int) -> Iterator[None]:
    """Random numbers from `seed` inside; the state of the process as it was after."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield
