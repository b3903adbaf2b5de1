"""How sets are condensed: the table `[condense]` of a study file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from moc.condense.scalarise import SCALARISERS, Scalariser, SmoothTchebycheff
from moc.data.decoder import AS_STORED, Decoder
from moc.networks.network import Compute

_CONFIG = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)


class PoolSettings(BaseModel):
    """Networks that are trained on each set while it is condensed, used instead of random ones.

    Attributes:
        size: How many networks.
        age: Steps on the set after which a network is replaced by a fresh one.
        inner: Steps that a network takes each time, of at most 128 training records.
    """

    model_config = _CONFIG
    size: int = Field(default=8, gt=0)
    age: int = Field(default=100, gt=0)
    inner: int = Field(default=1, gt=0)


class CurveSettings(BaseModel):
    """The front as one curve, a Bézier simplex of sets.

    Attributes:
        degree: Of its polynomials; 2 or more, so that some control set is no corner.
        between: Points between the corners that every step looks at.
    """

    model_config = _CONFIG
    degree: int = Field(default=2, ge=1, le=4)
    between: int = Field(default=1, gt=0)


class CondenseSettings(BaseModel):
    """Size and schedule of the sets.

    Attributes:
        images_per_class: Stored images a class.
        steps: Optimiser steps.
        networks_per_step: Networks that the losses are averaged over in each step.
        lr: Adam's learning rate in pixel units, with cosine decay to zero.
        images: `learned`; or `fixed` at what they start from, so that labels alone are learned:
            records of T in an open study, noise or a proxy's records in a private one.
        labels: `hard`, or `learned` together with the images (as many more floats as classes).
        decoder: Training images in each stored one, and their copies. The set is condensed
            without the copies.
        pool: Networks that grow up on each set, and on each corner of a curve and what is between
            them; none for random ones. Needs records.
        compute: What networks compute in meanwhile: `bfloat16` is up to twice as fast where the
            processor knows it, and many times slower where it does not, of which a study warns.
            What is drawn from T, and all scores, stay in `float32`.
        scalariser: Joins the losses.
        front: `curve`: all sets of a rung as one curve, whose every point is a set; `apart`: each
            set by itself.
        curve: Table.
    """

    model_config = _CONFIG
    images_per_class: int = Field(default=10, gt=0)
    steps: int = Field(default=300, gt=0)
    networks_per_step: int = Field(default=1, gt=0)
    lr: float = Field(default=0.05, gt=0)
    images: Literal["learned", "fixed"] = "learned"
    labels: Literal["hard", "learned"] = "learned"
    decoder: Decoder = AS_STORED
    pool: PoolSettings | None = None
    compute: Compute = "float32"
    scalariser: Annotated[Scalariser, SCALARISERS] = SmoothTchebycheff()
    front: Literal["curve", "apart"] = "curve"
    curve: CurveSettings = CurveSettings()

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if (self.images, self.labels) == ("fixed", "hard"):
            raise ValueError(
                "images = 'fixed' and labels = 'hard' leave nothing to condense; learn one of them."
            )
        return self

    @property
    def records_per_class(self) -> int:
        """Training images a class, before they are copied."""
        return self.images_per_class * self.decoder.tiles
