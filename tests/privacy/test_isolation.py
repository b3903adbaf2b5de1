"""Records are kept apart, or the release is refused before T is read."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from privacy.private_tools import Brightness, Centred, moments, real, small, toy
from typing_extensions import override

from moc.errors import PrivacyError
from moc.privacy.isolation import largest_move, probes, require_isolated
from moc.statistics.base import STATISTICS
from moc.statistics.class_means import ClassMeans


class FirstCounts(ClassMeans):
    """A defect: the first record of a batch counts twice."""

    kind: Literal["first-counts"] = "first-counts"  # pyright: ignore[reportIncompatibleVariableOverride]

    @override
    def terms(self, member, x, labels, features):
        return features * torch.where(torch.arange(len(x)) == 0, 1.0, 0.5)[:, None]


class Drifting(ClassMeans):
    """A defect: terms depend on how often they were asked for."""

    kind: Literal["drifting"] = "drifting"  # pyright: ignore[reportIncompatibleVariableOverride]

    @override
    def terms(self, member, x, labels, features):
        return features * torch.rand(())


@pytest.mark.parametrize("defect", [Centred, FirstCounts, Drifting])
def test_statistics_in_which_records_touch_are_refused(defect):
    with pytest.raises(PrivacyError, match="treat each record by itself"):
        require_isolated(small(toy().info, (defect(),)))


def test_every_statistic_of_moc_keeps_records_apart(digits):
    every = tuple(STATISTICS.make(kind) for kind in STATISTICS.parts)
    require_isolated(real(digits.info, networks=1, statistics=(*every, Brightness()), width=8))


def test_the_largest_move_is_that_of_the_record_with_the_longest_terms():
    collection = small(toy().info, moments(counts=0.25))
    public = probes(toy().info, 4)
    moved = largest_move(lambda records: collection.sums(records).flat(), public)
    assert 0.999 < moved <= 1.0
    halved = largest_move(lambda records: collection.sums(records).flat() // 2, public)
    assert halved == pytest.approx(moved / 2, rel=1e-4)
