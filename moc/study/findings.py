"""What a closer look at a set has found: masking checks, robustness curves, confirmations."""

from __future__ import annotations

from dataclasses import dataclass

from moc.evaluate.scores import Estimate, Scores


@dataclass(frozen=True, kw_only=True)
class MaskingChecks:
    """Whether a robust score can be believed: checks for hidden gradients on one network.

    Attributes:
        trial: The trial whose set the network was trained on.
        checks: (what should hold, whether it does, the numbers behind it) for each check.
        transfer: What the networks that attacks were transferred from were trained on, in words;
            empty where transfer was not checked.
    """

    trial: int
    checks: tuple[tuple[str, bool, str], ...]
    transfer: str = ""

    @property
    def failed(self) -> tuple[str, ...]:
        """What does not hold, each with its numbers."""
        return tuple(f"{name} ({detail})" for name, passed, detail in self.checks if not passed)

    @property
    def passed(self) -> bool:
        """Whether all hold."""
        return not self.failed

    def describe(self) -> str:
        """The result in a line; failures are named with their numbers."""
        if self.passed:
            transfer = "" if self.transfer else " (transfer was not checked)"
            return f"all {len(self.checks)} passed{transfer}"
        return (
            f"{len(self.failed)} of {len(self.checks)} FAILED, so do not rely on the robust error: "
            f"{'; '.join(self.failed)}"
        )


@dataclass(frozen=True, kw_only=True)
class RobustnessCurve:
    """Robust error against the budget of the attack.

    Attributes:
        name: Of the trial or baseline.
        eps: Rising budgets (m), in the threat's norm and units of [0, 1] pixels.
        errors: Robust error under each of them.
        attacks: Labels of the attacks whose worst case counts.
        records: How many test records were attacked.
        networks: How many networks were trained on the set.
    """

    name: str
    eps: tuple[float, ...]
    errors: tuple[Estimate, ...]
    attacks: tuple[str, ...]
    records: int
    networks: int


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """A chosen trial, scored by fresh networks on test records under the attacks of claims.

    Attributes:
        suite: Kind of the suite of attacks.
        attacks: Their labels.
        scores: What was found.
        records: How many test records.
        networks: How many networks were trained on the set.
        training_attack: What attacked every batch of training, where the study trains plainly.
        masking: Checks of one of the networks, where the study has not made them.
        hardened: The same of networks trained under such an attack; None if they were not.
    """

    suite: str
    attacks: tuple[str, ...]
    scores: Scores
    records: int
    networks: int
    training_attack: str = ""
    masking: MaskingChecks | None = None
    hardened: Confirmation | None = None
