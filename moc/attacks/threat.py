"""What an attacker may do, and the checks of what goes into an attack and comes out."""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from moc.errors import MocError

Norm = Literal["Linf", "L2"]

_SLACK = 1e-6


class AttackError(MocError):
    """Images, a threat or a model that an attack cannot work with."""


class Threat(BaseModel):
    """What an attacker may do to each record.

    Attributes:
        norm: Norm of the perturbation of one record, over all of its pixels.
        eps: The largest norm, in units of [0, 1] pixels: 8/255, not 8. Zero allows nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    norm: Norm = "Linf"
    eps: float = Field(ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _within_the_pixels(self) -> Self:
        if self.norm == "Linf" and self.eps > 1:
            raise ValueError(
                f"Pixels lie in [0, 1], so eps at most 1 expected for Linf, found {self.eps:g}. "
                "Divide grey levels by 255."
            )
        return self

    def size(self, delta: Tensor) -> Tensor:
        """Norm (n,) of each perturbation in `delta` (n, *shape)."""
        return delta.flatten(1).norm(p=math.inf if self.norm == "Linf" else 2, dim=1)


def check_records(x: Tensor, y: Tensor, classes: int) -> None:
    """Refuse records (n, *shape) outside [0, 1] and labels (n,) outside 0..classes - 1."""
    if not torch.is_floating_point(x) or x.dim() < 2:
        raise AttackError(
            f"Floating-point records (n, *shape) in [0, 1] expected, "
            f"found {x.dtype} of shape {tuple(x.shape)}."
        )
    if y.shape != x.shape[:1] or torch.is_floating_point(y):
        raise AttackError(
            f"One integer label for each of the {len(x)} records expected, "
            f"found {y.dtype} of shape {tuple(y.shape)}."
        )
    if len(x) == 0:
        return
    low, high = (float(bound) for bound in x.detach().aminmax())
    if not (low >= 0 and high <= 1):
        raise AttackError(
            "Records in [0, 1] expected, found others, or NaN. "
            "Attack raw pixels; put the normalisation inside the model."
        )
    first, last = (int(bound) for bound in y.aminmax())
    if first < 0 or last >= classes:
        raise AttackError(f"Labels in 0..{classes - 1} expected, found others.")


def check_result(found: Tensor, x: Tensor, threat: Threat) -> None:
    """Refuse perturbed records outside [0, 1] or further from `x` than the threat allows."""
    low, high = (float(bound) for bound in found.aminmax())
    size = float(threat.size(found - x.detach()).max())
    if not (low >= 0 and high <= 1 and size <= threat.eps + _SLACK):
        raise AttackError(
            f"A perturbation of {threat.norm} norm at most {threat.eps:g} inside [0, 1] expected, "
            "found another. Does the model return NaN?"
        )
