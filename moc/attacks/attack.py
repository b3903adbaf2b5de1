"""The attacks: the only file of moc that imports torchattacks."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torchattacks

from moc.attacks.threat import AttackError, check_records, check_result
from moc.attacks.victim import (
    Victim,
    as_images,
    at_least_four,
    climb,
    hard_gap,
    soft_gap,
    untouched,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn
    from torchattacks.attack import Attack as Engine

    from moc.attacks.threat import Threat

Name = Literal["fgsm", "pgd-ce", "pgd-margin", "mifgsm", "apgd-ce", "apgd-t", "fab-t", "square"]

_OFFICIAL_QUERIES = 5000

# Cross-entropy is softplus(soft gap): the two have the same direction, but where a confident
# network's cross-entropy has the gradient 0 in float32, that of its gap is still of order 1.
_GAPS = {
    "fgsm": soft_gap,
    "mifgsm": soft_gap,
    "pgd-ce": soft_gap,
    "pgd-margin": hard_gap,
}


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One untargeted attack; call it to perturb records.

    `fgsm`, `mifgsm` and `pgd-ce` follow the gradient of the cross-entropy, `pgd-margin` that of
    the largest wrong logit minus the right one. `apgd-ce`, `apgd-t`, `fab-t` and `square` are the
    members of AutoAttack (arXiv 2003.01690), the targeted ones against every wrong class.

    Attributes:
        name: Which attack.
        steps: Gradient steps, for each target class where there are targets; queries for
            `square`; 1 for `fgsm`.
        random_start: Start PGD at a random point of the ball. The other attacks start as their
            authors say and take no choice.
    """

    name: Name
    steps: int
    random_start: bool = False

    def __post_init__(self) -> None:
        """Check that the parts go together."""
        if self.name not in get_args(Name):
            raise AttackError(
                f"An attack of {', '.join(get_args(Name))} expected, found {self.name!r}."
            )
        if self.steps < 1 or (self.name == "fgsm" and self.steps != 1):
            raise AttackError(
                f"{self.name} takes {'1 step' if self.name == 'fgsm' else 'at least 1 step'}, "
                f"found {self.steps}."
            )
        if self.random_start and not self.name.startswith("pgd"):
            raise AttackError(f"Only PGD takes random_start; leave it out for {self.name}.")

    @property
    def label(self) -> str:
        """Name with the number of steps, such as `apgd-ce-100`."""
        return f"{self.name}-{self.steps}"

    @property
    def per_record(self) -> bool:
        """Whether the result for one record does not depend on which others are in the call.

        A private study may use no other attack: random numbers are drawn by position, so that
        one record more or less would change the perturbation of all that follow. It also keeps
        to calls of one shape, since kernels round differently for different numbers of records.
        """
        return self.name in ("fgsm", "mifgsm") or (
            self.name.startswith("pgd") and not self.random_start
        )

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, threat: Threat, classes: int, seed: int
    ) -> Tensor:
        """Perturb every record so that the model gets it wrong, as far as the attack can.

        Args:
            model: Maps records (n, *shape) in [0, 1] to logits (n, classes). Attacked in
                evaluation mode; modes, `requires_grad` flags and `.grad` are left as they were.
                It is given the whole call, in order, by `fgsm`, `mifgsm` and PGD, and subsets
                of it by the others.
            x: Records (n, *shape) in [0, 1], images or vectors.
            y: Right labels (n,).
            threat: The norm and the budget.
            classes: Number of logits.
            seed: Public seed. The random state of the process is neither read nor changed.

        Returns:
            Perturbed records (n, *shape) in [0, 1], detached, within the budget to 1e-6.

        Raises:
            AttackError: If the records are outside [0, 1], the labels do not fit, or the model
                has another number of logits or no gradient.
        """
        check_records(x, y, classes)
        if threat.eps == 0 or len(x) == 0:
            return x.detach().clone()
        images, y = as_images(x.detach()), y.to(device=x.device, dtype=torch.int64)
        victim = Victim(model, x, self._head(y), classes)
        engine = self._engine(victim, threat, classes, seed)
        labels = torch.zeros_like(y) if self.name in _GAPS else y
        with untouched(model), _forked(seed), torch.enable_grad():
            found = engine(images, labels).detach()
        found = found.flatten(1)[:, : x[0].numel()].reshape(x.shape)
        if self.name == "mifgsm":
            # It divides by the mean gradient: a record without any gradient stays as it was.
            found = torch.where(found.isnan(), x.detach(), found)
        check_result(found, x, threat)
        return found

    def _head(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        if gap := _GAPS.get(self.name):
            return lambda logits: climb(gap(logits, y))
        return at_least_four if self.name == "apgd-t" else torch.clone  # square writes to it

    def _engine(self, victim: nn.Module, threat: Threat, classes: int, seed: int) -> Engine:
        eps, norm, step = threat.eps, threat.norm, 2.5 * threat.eps / self.steps
        match self.name, norm:
            case "fgsm", "Linf":
                return torchattacks.FGSM(victim, eps)
            case "fgsm", "L2":
                return torchattacks.PGDL2(victim, eps, eps, 1, random_start=False)
            case (("pgd-ce" | "pgd-margin"), "Linf"):
                return torchattacks.PGD(victim, eps, step, self.steps, self.random_start)
            case (("pgd-ce" | "pgd-margin"), "L2"):
                return torchattacks.PGDL2(victim, eps, step, self.steps, self.random_start)
            case "mifgsm", "Linf":
                return torchattacks.MIFGSM(victim, eps, step, self.steps)
            case "apgd-ce", _:
                return torchattacks.APGD(victim, norm, eps, self.steps, seed=seed)
            case "apgd-t", _:
                return torchattacks.APGDT(
                    victim, norm, eps, self.steps, seed=seed, n_classes=classes
                )
            case "fab-t", _:
                return torchattacks.FAB(
                    victim, norm, eps, self.steps, seed=seed, multi_targeted=True, n_classes=classes
                )
            case "square", _:
                # AutoAttack's own schedule of square sizes is made for its 5000 queries.
                shrink = self.steps < _OFFICIAL_QUERIES
                return torchattacks.Square(
                    victim, norm, eps, self.steps, resc_schedule=shrink, seed=seed
                )
        raise AttackError(f"{self.name} has no {norm} variant; use pgd-ce or pgd-margin.")


@contextmanager
def _forked(seed: int) -> Iterator[None]:
    """Random numbers from `seed` inside; the state of the process as it was after."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield
