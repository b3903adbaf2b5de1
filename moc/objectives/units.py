"""Units of objectives: how values, changes and limits are written for a person."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from moc.errors import PolicyError
from moc.evaluate.scores import Estimate

OPEN = "open"
"""The word for an infinite epsilon: no privacy is promised, so no number is shown."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """How numbers of one kind are written.

    Attributes:
        suffix: Stands behind the words of an objective in a heading, such as ` %`.
        factor: A value times this is what is shown.
        number: Format of what is shown.
        step: Name of the unit of a change: `points`, or empty.
        largest: Largest sensible limit; values lie in [0, largest].
    """

    suffix: str = ""
    factor: float = 1.0
    number: Callable[[float], str]
    step: str = ""
    largest: float = math.inf

    def text(self, value: float) -> str:
        """One number, such as `12.3`, `open` for an infinite epsilon, a dash for none."""
        if math.isnan(value):
            return "-"
        return OPEN if math.isinf(value) else self.number(self.factor * value)

    def estimate(self, estimate: Estimate | None) -> str:
        """A number with its standard error, `12.3 ± 0.4`; a dash where nothing was measured."""
        if estimate is None or math.isnan(estimate.mean):
            return "-"
        exact = estimate.se == 0 or not math.isfinite(estimate.se)
        mean = self.text(estimate.mean)
        return mean if exact else f"{mean} ± {self.number(self.factor * estimate.se)}"

    def with_unit(self, value: float) -> str:
        """A number with its unit, as in `12.3 %`."""
        return f"{self.text(value)}{self.suffix}"

    def check_limit(self, words: str, limit: float) -> None:
        """Refuse a limit that no value could meet or miss.

        Raises:
            PolicyError: If it is not positive and finite, or larger than any value.
        """
        if 0 <= limit <= self.largest and math.isfinite(limit) and (limit > 0 or self.step):
            return
        if self.step:
            raise PolicyError(
                f"The limit on {words} should be a share in [0, 1], found {limit:g}. "
                "Thirty percent is 0.3."
            )
        raise PolicyError(f"The limit on {words} should be positive, found {limit:g}.")


UNITS = {
    "share": Unit(
        suffix=" %", factor=100.0, number=lambda value: f"{value:.1f}", step="points", largest=1.0
    ),
    "epsilon": Unit(number=lambda value: f"{value:.4g}"),
    "bytes": Unit(suffix=" kB", factor=1e-3, number=lambda value: f"{value:.4g}"),
}
"""Units by name."""
