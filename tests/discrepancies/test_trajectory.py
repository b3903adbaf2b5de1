"""Trajectory matching against plain training, and its two ways of taking the gradient."""

import copy

import pytest
import torch
import torch.nn.functional as F
from discrepancies.views import INFO, bank, records, sets, target, view_of

from moc.data.synthetic import one_hot
from moc.discrepancies.trajectory import TrajectoryMatching
from moc.networks.bank import encode


def trained(network, batches, lr):
    """Weights after plain SGD, as one vector."""
    network = copy.deepcopy(network).requires_grad_(True)
    optimiser = torch.optim.SGD(network.parameters(), lr=lr)
    for x, labels in batches:
        optimiser.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        optimiser.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def expected(member, x, labels, view, loss):
    """The values by plain training, one set at a time."""
    real, targets = view.batch()
    parts, several = (one.tensor_split(loss.expert_steps) for one in (real[0], targets))
    start = trained(member.network, [], 0.0)
    goal = trained(member.network, zip(parts, several, strict=True), loss.expert_lr)
    taught = zip(x, labels, strict=True)
    ends = [trained(member.network, [one] * loss.steps, loss.lr) for one in taught]
    reach = (start - goal).square().sum()
    return torch.stack([(end - goal).square().sum() / reach for end in ends])


@pytest.mark.parametrize("truncated", [False, True])
def test_values_are_those_of_plain_training(truncated):
    loss = TrajectoryMatching(steps=3, expert_steps=2, lr=0.3, expert_lr=0.2, truncated=truncated)
    member, (x, labels) = bank().member(0), sets(3)
    view = target(member)
    values = loss.value(encode(x, labels, member), view)
    torch.testing.assert_close(
        values, expected(member, x, labels, view, loss), rtol=1e-4, atol=1e-5
    )


def gradients(loss, x, labels, member):
    x, labels = x.clone().requires_grad_(), labels.clone().requires_grad_()
    loss.value(encode(x, labels, member), target(member)).sum().backward()
    return x.grad, labels.grad


def test_after_one_step_the_truncated_gradient_is_the_whole_one():
    member, (x, labels) = bank().member(0), sets(2)
    whole, part = (
        gradients(TrajectoryMatching(steps=1, lr=0.3, truncated=t), x, labels, member)
        for t in (False, True)
    )
    for a, b in zip(whole, part, strict=True):
        assert a.abs().sum() > 0
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_after_more_steps_the_truncated_gradient_still_points_downhill():
    member, (x, labels) = bank().member(0), sets(2)
    whole, part = (
        gradients(TrajectoryMatching(steps=4, lr=0.1, truncated=t), x, labels, member)
        for t in (False, True)
    )
    assert not torch.allclose(whole[0], part[0], rtol=1e-3)
    assert F.cosine_similarity(whole[0].flatten(1), part[0].flatten(1)).min() > 0.8


def test_a_set_that_is_the_data_teaches_what_the_data_teach():
    member, (x, y) = bank().member(0), records(20)
    labels = one_hot(y, len(INFO.classes))
    loss = TrajectoryMatching(steps=1, expert_steps=1, lr=0.1, expert_lr=0.1)
    value = loss.value(encode(x[None], labels[None], member), view_of(member, x, labels))
    assert value.item() == pytest.approx(0.0, abs=1e-9)


def test_a_set_that_moves_nothing_is_as_far_as_the_start():
    member = bank().member(0)
    value = TrajectoryMatching(lr=1e-9).value(encode(*sets(2), member), target(member))
    torch.testing.assert_close(value, torch.ones(2), rtol=1e-4, atol=1e-4)
