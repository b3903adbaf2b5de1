"""Suites: attacks whose worst case is the robust correctness of a record."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from moc.attacks.autoattack import ApgdCe, ApgdT, FabT, Square
from moc.attacks.base import ATTACKS, Attack
from moc.attacks.gradient import Fgsm, PgdCe, PgdMargin
from moc.parts import Family, Part
from moc.privacy.held_out import HeldOut

AnyAttack = Annotated[Attack, ATTACKS]


class Suite(Part):
    """Attacks in the order in which they are run, cheap ones first.

    Attributes:
        attacks: The attacks, each under a label of its own.
    """

    attacks: tuple[AnyAttack, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _differ(self) -> Self:
        labels = [attack.label for attack in self.attacks]
        if len(set(labels)) != len(labels):
            raise ValueError(f"attacks that differ expected, found {', '.join(labels)}")
        return self

    @property
    def per_record(self) -> bool:
        """Whether a record's outcome does not depend on the other records."""
        return all(attack.per_record for attack in self.attacks)


SUITES: Family[Suite] = Family("suites", Suite, "moc.evaluate")


class PrivateSuite(Suite):
    """For scores on private records: nothing random, each record on its own."""

    kind: Literal["private"] = "private"
    attacks: tuple[AnyAttack, ...] = (PgdCe(steps=20), PgdMargin(steps=20))


class FastSuite(Suite):
    """For the scores of a search. What falls to one step needs no twenty."""

    kind: Literal["fast"] = "fast"
    attacks: tuple[AnyAttack, ...] = (
        Fgsm(),
        PgdCe(steps=20, random_start=True),
        PgdMargin(steps=20, random_start=True),
        Square(steps=100),
    )


class StandardSuite(Suite):
    """For a front on a CPU: close to `full` at a fraction of its cost."""

    kind: Literal["standard"] = "standard"
    attacks: tuple[AnyAttack, ...] = (ApgdCe(steps=30), ApgdT(steps=20), Square(steps=500))


class FullSuite(Suite):
    """For numbers that are claimed: AutoAttack, standard version (arXiv 2003.01690)."""

    kind: Literal["full"] = "full"
    attacks: tuple[AnyAttack, ...] = (
        ApgdCe(steps=100),
        ApgdT(steps=100),
        FabT(steps=100),
        Square(steps=5000),
    )


class CustomSuite(Suite):
    """Attacks of one's own choice."""

    kind: Literal["custom"] = "custom"


def suite_for(suite: Suite, held_out: HeldOut) -> Suite:
    """The attacks that may be used on these records: `suite`, or `private` where it couples them.

    An attack that couples records would let one record of private data move the outcome of
    others, and the score by more than the noise was made for.
    """
    return suite if suite.per_record or not held_out.per_record else PrivateSuite()
