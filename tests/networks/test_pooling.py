from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from moc.networks.pooling import HalvingPool


@given(
    st.integers(1, 5), st.integers(1, 3), st.integers(2, 9), st.integers(2, 9), st.integers(0, 99)
)
def test_it_is_pytorchs_average_pooling(n, channels, height, width, seed):
    x = torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(seed))
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = HalvingPool(width)(mine), nn.AvgPool2d(2)(theirs)
    torch.testing.assert_close(found, expected)
    weights = torch.rand(found.shape)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_its_gradient_has_a_gradient():
    x = torch.rand(2, 1, 5, 4, dtype=torch.float64, requires_grad=True)
    pool = HalvingPool(4)
    assert torch.autograd.gradcheck(lambda x: pool(x).square(), x)
    assert torch.autograd.gradgradcheck(lambda x: pool(x).square(), x)


def test_it_takes_images_in_any_memory_format():
    x = torch.rand(3, 4, 6, 6)
    other = x.to(memory_format=torch.channels_last)
    assert torch.equal(HalvingPool(6)(x), HalvingPool(6)(other))


def test_it_has_no_weights_and_nothing_to_store():
    assert not HalvingPool(8).state_dict()
    assert not list(HalvingPool(8).parameters())
