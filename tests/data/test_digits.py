from __future__ import annotations

import torch

from moc.data.vault import unseal


def test_declared_facts_are_those_of_the_records(digits):
    records, info = unseal(digits), digits.info
    assert info.shape == (1, 8, 8)
    assert info.count == len(records.x) == 1797
    assert not info.mirrored
    assert records.x.dtype == torch.float32
    assert (records.x.min(), records.x.max()) == (0, 1)
    assert torch.equal(records.x * 16, (records.x * 16).round())
    assert abs(records.x.mean() - info.mean[0]) < 1e-4
    assert abs(records.x.std() - info.std[0]) < 1e-4


def test_every_class_has_about_a_tenth(digits):
    counts = unseal(digits).y.bincount(minlength=10)
    assert len(digits.info.classes) == len(counts) == 10
    assert counts.min() > 170
