"""Class shares from noisy counts: right where they say something, even where they do not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.statistics.class_counts import class_shares

RECORDS = 1000


def shares_of(records, noise):
    """Shares from noisy counts of these records and the noise in each, in records."""
    counted = torch.tensor(records, dtype=torch.float64) / RECORDS
    return class_shares(counted, noise=noise / RECORDS, classes=3, records=RECORDS)


def test_counts_without_noise_are_the_shares():
    torch.testing.assert_close(
        shares_of([700.0, 200.0, 100.0], noise=0.0), torch.tensor([0.7, 0.2, 0.1])
    )


def test_without_counts_the_classes_are_taken_to_be_of_one_size():
    shares = class_shares(None, noise=0.0, classes=3, records=RECORDS)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3))


@given(
    found=st.lists(st.floats(-1e5, 1e5), min_size=3, max_size=3),
    noise=st.sampled_from([0.0, 2.5, 20.0, 5e4]),
)
def test_shares_are_positive_and_sum_to_one_whatever_the_noise_did(found, noise):
    shares = shares_of(found, noise)
    assert shares.min() > 0
    assert shares.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_noise_alone_leaves_the_classes_even_on_average_and_helps_where_they_are_not():
    """Over many draws they err less than the counts as they are; for even classes, far less."""
    generator = torch.Generator().manual_seed(0)
    std = 20.0
    for truth, gain in (([334.0, 333.0, 333.0], 0.7), ([700.0, 200.0, 100.0], 1.01)):
        exact = torch.tensor(truth, dtype=torch.float64)
        kept, raw = 0.0, 0.0
        for _ in range(400):
            noisy = exact + std * torch.randn(3, generator=generator, dtype=torch.float64)
            shares = shares_of(noisy.tolist(), std)
            kept += float((shares - exact / RECORDS).square().sum())
            raw += float(((noisy - exact) / RECORDS).square().sum())
        assert kept < gain * raw
