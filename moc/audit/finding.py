"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one examination.

    Attributes:
        name: What was examined.
        passed: Whether no defect was found.
        details: The numbers or faults behind it.
        values: The same numbers by name, where there are any.
    """

    name: str
    passed: bool
    details: str
    values: dict[str, float]

    def describe(self) -> str:
        """The finding in a line, for a person."""
        return f"{self.name}: {'passed' if self.passed else 'FAILED'}; {self.details}"
