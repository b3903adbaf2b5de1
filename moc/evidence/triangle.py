"""Symmetric matrices as vectors of the same norm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def vech(psi: Tensor) -> Tensor:
    """Upper triangle of ψψᵀ with √2 off the diagonal: (n, p) to (n, p(p+1)/2)."""
    rows, columns, weight = _triangle(psi.shape[1], psi)
    return psi[:, rows] * psi[:, columns] * weight


def unvech(triangle: Tensor) -> Tensor:
    """Symmetric matrices (..., p, p) from their weighted upper triangles (..., p(p+1)/2)."""
    p = (math.isqrt(8 * triangle.shape[-1] + 1) - 1) // 2
    rows, columns, weight = _triangle(p, triangle)
    matrix = triangle.new_zeros(*triangle.shape[:-1], p, p)
    matrix[..., rows, columns] = triangle / weight
    matrix[..., columns, rows] = triangle / weight
    return matrix


def _triangle(p: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns of the upper triangle of a (p, p) matrix, and what vech weighs them by."""
    rows, columns = torch.triu_indices(p, p, device=like.device)
    weight = torch.full_like(rows, math.sqrt(2.0), dtype=like.dtype)
    return rows, columns, weight.masked_fill(rows == columns, 1.0)
