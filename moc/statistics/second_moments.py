"""Second moments of compact features, over all classes."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from moc.networks.bank import Bank, Member
from moc.statistics.base import Statistic


class SecondMoments(Statistic):
    """vech(ψψᵀ) of the compact features ψ: the upper triangle, with √2 off the diagonal.

    So weighted its norm is that of the whole matrix, ‖ψ‖².
    """

    kind: Literal["second-moments"] = "second-moments"
    by_class: ClassVar[bool] = False

    @override
    def size(self, bank: Bank) -> int:
        p = bank.member(0).compact_dimension
        return p * (p + 1) // 2

    @override
    def terms(self, member: Member, x: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        return vech(member.compact(features))

    @override
    def squared_norms(self, member: Member, x: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        return member.compact(features).square().sum(1).square()


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


def nearest_psd(matrix: Tensor) -> Tensor:
    """The nearest positive semidefinite matrices: post-processing that removes mere noise."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ (values.clamp_min(0.0).unsqueeze(-1) * vectors.transpose(-1, -2))


def _triangle(p: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns of the upper triangle of a (p, p) matrix, and what vech weighs them by."""
    rows, columns = torch.triu_indices(p, p, device=like.device)
    weight = torch.full_like(rows, math.sqrt(2.0), dtype=like.dtype)
    return rows, columns, weight.masked_fill(rows == columns, 1.0)
