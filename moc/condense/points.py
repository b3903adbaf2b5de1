"""Which points of a set or curve a step of condensation looks at, and what it makes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from typing_extensions import override

from moc.condense.scalarise import Normalisation, Scalariser
from moc.condense.settings import CurveSettings
from moc.data.curve import bernstein, corners, exponents

_MEMORY = 0.95
"""Weight of the past in the running losses of the corners: about 20 steps count."""

_NARROWEST = 0.02
"""Least distance of nadir and ideal, as a share of the ideal: all corners start as one set."""


class Points(ABC):
    """The n points of each of B curves of P control sets.

    Attributes:
        controls: The number of control sets P.
        groups: The points as parts of 0 .. n, each of which has a pool of networks of its own where
            networks grow up on what is condensed.
    """

    controls: int
    groups: tuple[slice, ...]

    @abstractmethod
    def draw(self, step: int) -> None:
        """Choose the points of a step."""

    @abstractmethod
    def mix(self, controls: Tensor) -> Tensor:
        """The points (B, n, ...) of control sets (B, P, ...)."""

    @abstractmethod
    def carry(self, controls: Tensor, before: Tensor) -> None:
        """After a step, let control sets (B, P, ...) go along with others, in place.

        Args:
            controls: As they are now.
            before: As they were before the step.
        """

    @abstractmethod
    def join(self, losses: Tensor) -> Tensor:
        """What is to be minimised, one value for each point (B, n), of its losses (B, n, m)."""


class Alone(Points):
    """One point, which is a set by itself, under weights of its own."""

    controls, groups = 1, (slice(0, 1),)

    def __init__(
        self, *, weights: Tensor, frame: Normalisation | None, scalariser: Scalariser
    ) -> None:
        """Minimise under weights (B, m), by a scalariser of losses normalised by `frame`."""
        self.weights, self.frame, self.scalariser = weights, frame, scalariser

    @override
    def draw(self, step: int) -> None:
        pass

    @override
    def mix(self, controls: Tensor) -> Tensor:
        return controls

    @override
    def carry(self, controls: Tensor, before: Tensor) -> None:
        pass

    @override
    def join(self, losses: Tensor) -> Tensor:
        losses = losses[:, 0]
        joined = (losses * self.weights).sum(1)
        if self.frame is not None and losses.shape[1] > 1:
            inside = self.scalariser.join(self.frame.apply(losses), self.weights)
            joined = torch.where((self.weights > 1 - 1e-9).any(1), joined, inside)
        return joined.unsqueeze(1)


class OnCurve(Points):
    """The corners of a curve in every step, and points between them.

    The set of a corner is moved by its own loss alone, and so becomes the very set that would be
    condensed for that loss by itself: nothing pulls the ends of the front in, which is what other
    models of whole fronts suffer from (COSMOS, arXiv 2103.13392). Where networks grow up, those of
    a corner grow up on its set alone, for the same reason. The other control sets go along
    with the flat simplex between the corners, and points between them move them away from it: what
    is learned is how a front bends. Losses of these points are normalised by running averages at
    the corners, and joined by their weights.
    """

    def __init__(
        self, *, losses: int, settings: CurveSettings, scalariser: Scalariser, device: str
    ) -> None:
        """Look at curves of the front of m losses."""
        self._losses, self._settings, self._scalariser = losses, settings, scalariser
        self.controls = len(exponents(losses, settings.degree))
        places = corners(losses, settings.degree)
        others = [p for p in range(self.controls) if p not in places]
        self._corners = torch.tensor(places, device=device)
        self._others = torch.tensor(others, dtype=torch.int64, device=device)
        self._flat = torch.tensor(exponents(losses, settings.degree), device=device)
        self._flat = self._flat / settings.degree
        self._is_corner = (self._flat == 1).any(1)
        self.groups = (*(slice(k, k + 1) for k in range(losses)), slice(losses, None))
        self._generator = torch.Generator().manual_seed(0)
        self._sums, self._mass = torch.zeros((), device=device), 0.0
        self.draw(0)

    @override
    def draw(self, step: int) -> None:
        # Of m - 1 uniform cuts of [0, 1], the m pieces are uniform on the simplex. The first cut is
        # stratified over the points of a step.
        count = self._settings.between
        cuts = torch.rand(count, self._losses - 1, generator=self._generator)
        cuts[:, 0] = (torch.arange(count) + cuts[:, 0]) / count
        ends = torch.tensor([[0.0, 1.0]]).expand(count, 2)
        pieces = torch.cat([ends, cuts], dim=1).sort(1).values.diff(dim=1)
        self._weights = pieces.to(self._is_corner.device)

    @override
    def mix(self, controls: Tensor) -> Tensor:
        held = self._is_corner.view(1, -1, *[1] * (controls.dim() - 2))
        moved = torch.where(held, controls.detach(), controls)
        basis = bernstein(self._weights, self._settings.degree)
        between = torch.einsum("np,bp...->bn...", basis, moved)
        return torch.cat([controls[:, self._corners], between], dim=1)

    @override
    def carry(self, controls: Tensor, before: Tensor) -> None:
        change = (controls - before)[:, self._corners]
        along = torch.einsum("pm,bm...->bp...", self._flat, change)
        controls[:, self._others] += along[:, self._others]

    @override
    def join(self, losses: Tensor) -> Tensor:
        at_corners, between = losses[:, : self._losses], losses[:, self._losses :]
        self._sums = _MEMORY * self._sums + at_corners.detach()
        self._mass = _MEMORY * self._mass + 1.0
        average = self._sums / self._mass
        ideal = average.diagonal(dim1=1, dim2=2)
        own = torch.eye(self._losses, dtype=torch.bool, device=losses.device)
        nadir = average.masked_fill(own, -torch.inf).amax(1)
        width = (nadir - ideal).maximum(_NARROWEST * ideal.abs()).clamp_min(1e-6)
        normalised = (between - ideal.unsqueeze(1)) / width.unsqueeze(1)
        joined = self._scalariser.join(normalised, self._weights)
        return torch.cat([at_corners.diagonal(dim1=1, dim2=2), joined], dim=1)
