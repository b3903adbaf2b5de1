"""DP-SGD on T: networks as a second kind of evidence beside the released moments.

Every step takes a fresh Poisson sample of the records, sums their clipped gradients, adds Gaussian
noise and divides by the expected batch size, which is public (Abadi et al., arXiv 1607.00133). The
records may be attacked first, each by itself, which costs nothing more: the clip comes after it
(Bu et al., OpenReview 1hw-h1C8bch). Sample and noise come from the operating system's entropy; the
weights that training starts from, the schedule and the attack are public.

What is published of a training is the trained network and nothing else: no loss and no size of a
batch is shown. It is paid for before T is read and stored by one rename, and from then on it is
only ever read back. A training that was killed before that has published nothing: its payment
stands, and it starts again from its beginning with fresh randomness, at no further cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from moc.data._vault import Records
from moc.errors import PrivacyError
from moc.evidence import rungs
from moc.evidence.access import ADJACENCY, UNIT, Access
from moc.evidence.accountant import ACCOUNTANT, Gaussian
from moc.evidence.gradients import ClippedGradients
from moc.evidence.noise import TIERS, Tier, gaussian, poisson_sample
from moc.evidence.statistics import GRID
from moc.networks import Network, NetworkSpec, build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from moc.attacks import Attack, Threat
    from moc.data.real import DataInfo
    from moc.evidence.ledger import Ledger

_DATA = "train"  # T by its name in the ledger


@dataclass(frozen=True, kw_only=True)
class PrivateTraining:
    """How networks are trained on T; all of it public, and fixed before T is read.

    Attributes:
        network: Architecture.
        noise_multiplier: Standard deviation of the noise over the clip.
        count: How many networks, each with randomness of its own, each paid for.
        steps: Steps for each of them.
        batch: Expected number of records in a step, at most N; what sums are divided by.
        clip: C, the most that one record adds to a sum of gradients, in L2 norm.
        lr: Learning rate, which falls linearly to 0, with momentum 0.9.
        attack: Attacks each record by itself against the network as it is; None for plain training.
        threat: The budget of the attack.
        tier: How noise is drawn.
        seed: Public seed of the weights that training starts from.
    """

    network: NetworkSpec
    noise_multiplier: float
    count: int = 1
    steps: int = 200
    batch: int = 256
    clip: float = 1.0
    lr: float = 1.0
    attack: Attack | None = None
    threat: Threat | None = None
    tier: Tier = "standard"
    seed: int = 0

    def mechanism(self, records: int) -> Gaussian:
        """What all of it costs for a declared number of records."""
        rate, total = self.batch / records, self.count * self.steps
        return Gaussian(noise_multiplier=self.noise_multiplier, sample_rate=rate, count=total)

    def access(self, number: int, records: int) -> Access:
        """What training network `number` does with T, for the ledger."""
        attacked = ""
        if self.attack is not None and self.threat is not None:
            within = f"{self.threat.norm} {self.threat.eps:g}"
            attacked = f", every record attacked by {self.attack.label} within {within}"
        return Access(
            key=f"training/{number}",
            data=_DATA,
            purpose=(
                f"DP-SGD of {self.network.name} (seed {self._seed(number)}, learning rate "
                f"{self.lr:g}, expected batch {self.batch}){attacked}; {TIERS[self.tier]}"
            ),
            kind="sampled",
            ladder=(self.noise_multiplier,),
            sensitivity=self.clip,
            sample_rate=self.batch / records,
            count=self.steps,
        )

    def sample(self, present: int, declared: int) -> Tensor:
        """Secret places of the records of a step among those that are there: a Poisson sample."""
        return poisson_sample(present, self.batch / declared)

    def start(self, number: int, info: DataInfo) -> Network:
        """Network `number` before its training."""
        return build(self.network, info, seed=self._seed(number))

    def _seed(self, number: int) -> int:
        return self.seed * 1009 + number


def train_privately(
    ledger: Ledger,
    training: PrivateTraining,
    *,
    folder: Path,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> list[Network]:
    """Train networks on T, or read back those that were trained.

    Args:
        ledger: Pays; refuses a second training and any spending over the budget before T is read.
        training: What is trained, and with how much noise.
        folder: Where the networks are stored, in a folder each; used for nothing else.
        device: Where to train.
        progress: Told (steps done, steps in all).

    Returns:
        `training.count` networks in evaluation mode whose parameters take no gradient. Everything
        made from them is post-processing.

    Raises:
        BudgetExceededError: If the budget does not allow it.
        PrivacyError: If one was trained before and is gone, if what is stored was not paid for in
            this ledger as it is asked for now, or if records are not kept apart.
    """
    info = ledger.info(_DATA)
    if not 0 < training.batch <= info.count:
        raise PrivacyError(
            f"An expected batch of 1 to {info.count} records, as many as there are, expected, "
            f"found {training.batch}."
        )
    accesses = [training.access(number, info.count) for number in range(training.count)]
    for access in accesses:
        access.check()
    places = [folder / str(number) / "network.safetensors" for number in range(training.count)]
    missing = [a for a, place in zip(accesses, places, strict=True) if not place.exists()]
    if missing:
        with gradients_of(training, training.start(0, info)) as gradients:
            gradients.require_isolated(info)
    for access in missing:  # all of them before the first record is read
        ledger.reserve(access)
    networks = []
    for number, (access, place) in enumerate(zip(accesses, places, strict=True)):
        if not place.exists():
            rungs.require_empty(place.parent)
            network = training.start(number, info).to(device)
            told = _told(progress, number, training)
            _train(network, training, ledger.read(access), ledger.info(_DATA).count, told)
            rungs.store([network.state_dict()], [_claim(access)], [place])
        else:
            ledger.confirm(access)
        ledger.finish(access.key)
        networks.append(_read(training.start(number, info), place, access).to(device))
    return networks


def _train(
    network: Network,
    training: PrivateTraining,
    records: Records,
    declared: int,
    told: Callable[[int], None],
) -> None:
    optimiser = torch.optim.SGD(network.parameters(), lr=training.lr, momentum=0.9)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: 1.0 - s / training.steps)
    with gradients_of(training, network) as gradients:
        for step in range(training.steps):
            chosen = training.sample(len(records.y), declared)
            sums = gradients.sums(Records(x=records.x[chosen], y=records.y[chosen]))
            gradients.descend(noisy_mean(sums, training))
            optimiser.step()
            falling.step()
            told(step + 1)


def noisy_mean(sums: Tensor, training: PrivateTraining) -> Tensor:
    """Sums (P,) in grid steps, with noise, over the expected batch: a gradient (P,) float64."""
    noise = gaussian(len(sums), std=GRID * training.noise_multiplier, tier=training.tier)
    return (sums.double() + noise) * (training.clip / (GRID * training.batch))


def gradients_of(training: PrivateTraining, network: Network) -> ClippedGradients:
    """Clipped gradients of `network` on records, attacked first if the training says so."""
    attack, threat = training.attack, training.threat
    return ClippedGradients(network, clip=training.clip, attack=attack, threat=threat)


def _told(
    progress: Callable[[int, int], None] | None, number: int, training: PrivateTraining
) -> Callable[[int], None]:
    done, total = number * training.steps, training.count * training.steps
    return lambda step: None if progress is None else progress(done + step, total)


def _claim(access: Access) -> dict[str, str]:
    """What a network's file says about itself; nothing in it comes from the records."""
    return {
        "purpose": access.words(),
        "noise multiplier": repr(access.ladder[0]),
        "sample rate": repr(access.sample_rate),
        "steps": repr(access.count),
        "sensitivity": repr(access.sensitivity),
        "adjacency": ADJACENCY,
        "unit": UNIT,
        "accountant": ACCOUNTANT,
    }


def _read(network: Network, place: Path, access: Access) -> Network:
    network.load_state_dict(rungs.load(place, _claim(access)))
    return network.eval().requires_grad_(False)
