"""Banks of networks trained on samples of T beforehand, plainly or adversarially."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from moc.bank import Bank, Member
from moc.condense.teacher import BatchSource, TeacherSettings, training_steps
from moc.networks import Network, build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moc.attacks import Threat
    from moc.condense.loop import Progress

_CENTRE_RECORDS = 256  # records of T whose mean embedding is the centre of a network's features


class PretrainedBank:
    """Early-stopped networks in turn, every member with an augmentation draw of its own.

    For open studies only: the networks have seen T.

    Attributes:
        info: Public facts about the data.
        device: Where the networks live.
    """

    def __init__(self, bank: Bank, networks: Sequence[Network], source: BatchSource) -> None:
        """Use `networks` in the place of the random ones of `bank`, centred on records."""
        self.info, self.device = bank.info, bank.device
        self._bank, self._networks = bank, tuple(networks)
        x, _ = source.batch(bank.seed, _CENTRE_RECORDS)
        with torch.no_grad():
            self._centres = [network.embed(x).mean(0) for network in networks]

    def __len__(self) -> int:
        """Return the number of networks."""
        return len(self._networks)

    def member(self, k: int) -> Member:
        """Member number `k`: network k mod their number, under the k-th draw of the bank."""
        generator = torch.Generator().manual_seed(self._bank.seed * 1_000_003 + k)
        draw, index = self._bank.draw(generator), k % len(self)
        network = self._networks[index]
        member = Member(network, draw=draw, width=None, generator=generator)
        member.centre = self._centres[index]
        return member.eval()

    def fresh(self, k: int) -> Member:
        """A copy of member number `k` of one's own."""
        return copy.deepcopy(self.member(k))


def pretrain(
    bank: Bank,
    source: BatchSource,
    *,
    settings: TeacherSettings,
    stages: int,
    threat: Threat,
    progress: Progress | None = None,
) -> PretrainedBank:
    """Train networks on batches of `source` and keep each at several stages of its training.

    Gradients and features of early networks say more about where training goes than those of
    finished ones (DC, arXiv 2006.05929; IDC, 2205.14959); adversarially trained ones show what is
    robust in a record (ROME and MAT, arXiv 2503.12069, match to them).

    Args:
        bank: Gives architectures, in turn, public seed and augmentation draws.
        source: Samples of T.
        settings: How many networks and how each is trained; their architecture is the bank's.
        stages: How many copies of each are kept, after equal numbers of steps, the last one whole.
        threat: What they are trained against; of size zero for plain training.
        progress: Told after every step.
    """
    total = settings.count * settings.steps
    due = {settings.steps * (stage + 1) // stages for stage in range(stages)}
    kept: list[tuple[int, Network]] = []
    for number in range(settings.count):
        seed = bank.seed * 1009 + 500 + number  # none of a teacher's
        one = replace(settings, network=bank.specs[number % len(bank.specs)])
        network = build(one.network, bank.info, seed=seed).to(bank.device).train()
        for step in training_steps(network, source, one, threat, seed):
            if step + 1 in due:
                kept.append((step, copy.deepcopy(network).eval().requires_grad_(False)))
            if progress is not None:
                progress(number * settings.steps + step + 1, total)
    # All networks at one stage before the next, so that members in turn differ most.
    kept.sort(key=lambda pair: pair[0])
    return PretrainedBank(bank, [network for _, network in kept], source)
