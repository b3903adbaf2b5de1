"""Controls: sets and networks whose robust score is known, to be measured beside every claim.

A measurement that calls a negative control robust, or the positive reference fragile, is broken.
The floor is a random subset of real records (`moc.evaluate.baselines.select`): trained on 10 images
a class of Fashion-MNIST, networks keep 7 to 15 % right within Linf 0.1, with 50 a class 7 %, and
without any claim to robustness; trained plainly on all of T they keep at most 4 % (Croce et al.,
arXiv 1810.07481). The numbers of the controls below are for the same data and budget; those
without a source were measured in small trials, one network each.

Like baselines, controls show real records and carry no privacy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from moc.attacks.gradient import PgdCe
from moc.attacks.victim import untouched
from moc.errors import StudyError
from moc.networks.teachers import TeacherSettings, train_teachers

if TYPE_CHECKING:
    from torch import Tensor

    from moc.attacks.threat import Threat
    from moc.data.synthetic import SyntheticSet
    from moc.networks.network import Network
    from moc.networks.train import BatchSource, Progress, Training

TOP = 0.68
"""Mean confidence of the labels of an adversarially trained teacher on Fashion-MNIST."""

_STATIC = PgdCe(steps=20, random_start=True)


def smoothed(real: SyntheticSet, *, top: float = TOP) -> SyntheticSet:
    """Negative control: the same images with uniformly smoothed labels.

    Expected: no more than the hard labels under an attack on the margin, 5 to 8 against 7 to 15 %
    with 10 images a class and 2 against 7 % with 50, but up to 4 points above that under PGD on the
    cross-entropy. It is here because smoothing flattens that loss and fools attacks on it (arXiv
    2009.08233), and because labels of a robust teacher, which do help, are as soft: what helps
    must be what they say about other classes.

    Args:
        real: Real records with hard labels (M, c).
        top: Probability of the right class; the others share the rest evenly.

    Raises:
        StudyError: If the right class would not be the likeliest, or labels are not hard.
    """
    classes = real.labels.shape[1]
    if not 1 / classes < top <= 1:
        raise StudyError(f"A probability in (1/{classes}, 1] expected for `top`, found {top}.")
    if not bool((real.labels.amax(1) == 1).all()):
        raise StudyError("Smoothing starts from hard labels; this set has soft ones.")
    rest = (1 - top) / (classes - 1)
    return replace(real, labels=rest + (top - rest) * real.labels)


def static_adversarial(
    real: SyntheticSet, network: Network, *, threat: Threat, seed: int
) -> SyntheticSet:
    """Negative control: adversarial images of one network, stored once, with the right labels.

    Expected: below the floor. Against a network trained plainly on `real` 0 %; against one trained
    adversarially on T 0.8 % with 50 images a class and 3 to 11 % with 10. It is here because it
    looks like adversarial training, but the inner maximum belongs to another network than the one
    that is trained.

    Args:
        real: Real records (M, *shape), stored as they are.
        network: Attacked by PGD; trained plainly on `real`, or adversarially on T.
        threat: Norm and budget.
        seed: Public seed of PGD's start.

    Raises:
        StudyError: If the set has to be decoded.
    """
    x = _undecoded(real, network)
    y = real.labels.argmax(1).to(x.device)
    classes = real.labels.shape[1]
    found = _STATIC(network, x, y, threat=threat, classes=classes, seed=seed)
    return replace(real, x=found.to(real.x))


def inverted(
    real: SyntheticSet, network: Network, *, seed: int, steps: int = 200, lr: float = 0.03
) -> SyntheticSet:
    """Negative control: images with the robust features of real ones (Ilyas et al., 1905.02175).

    For each record x, argmin over z in [0, 1] of ‖g(z) - g(x)‖₂ for g the embedding of an
    adversarially trained network, started from another record of the set. The paper uses normalised
    gradient descent on as many images as T has; here it is Adam on M of them.

    Expected: about the floor, 7 to 12 % with 10 images a class and 7 % with 50. It is here because
    the paper found robustness for L2 budgets with a full-size set, which under Linf 8/255 left
    0.1 % (CIFAR-10).

    Args:
        real: Real records (M, *shape), stored as they are.
        network: Gives the embedding g.
        seed: Public seed of which record starts as which.
        steps: Steps of Adam, on a learning rate that falls to 0 along a cosine.
        lr: The first learning rate.

    Raises:
        StudyError: If the set has to be decoded.
    """
    x = _undecoded(real, network)
    generator = torch.Generator().manual_seed(seed)
    z = _others(x, torch.randperm(len(x), generator=generator)).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with untouched(network):
        targets = network.embed(x)
        for _ in range(steps):
            distances = (network.embed(z) - targets).norm(dim=1)
            (z.grad,) = torch.autograd.grad(distances.sum(), z)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                z.clamp_(0, 1)
    return replace(real, x=z.detach().to(real.x))


def robust_reference(
    source: BatchSource,
    training: Training,
    *,
    threat: Threat,
    steps: int,
    seed: int,
    progress: Progress | None = None,
) -> Network:
    """Positive reference: the protocol's network trained adversarially, on all of T.

    Expected: 60 to 78 % within Linf 0.1 on Fashion-MNIST (61 after 400 steps; at most 78.5
    published, arXiv 1810.07481), and 74 to 78 % within 8/255. It is the ceiling: a set that is said
    to come near it is examined first.

    Args:
        source: Batches of T, in an open study.
        training: Gives the architecture.
        threat: What it is trained against.
        steps: Steps of SGD, see `TeacherSettings`.
        seed: Public seed of weights and batches.
        progress: Told after every step.
    """
    return train_teachers(
        source,
        network=training.network,
        settings=TeacherSettings(steps=steps),
        threat=threat,
        seed=seed,
        progress=progress,
    )[0]


def _undecoded(real: SyntheticSet, network: Network) -> Tensor:
    """Records (M, *shape) of a set that stores them as they are, where the network is."""
    if not real.decoder.is_trivial:
        raise StudyError(
            "Controls are made of records stored as they are; each stored one of this set decodes "
            f"into {real.decoder.count}. Select real records without a decoder."
        )
    return real.x.to(network.mean.device)


def _others(x: Tensor, order: Tensor) -> Tensor:
    """Every record replaced by the next one in a cyclic `order` (n,): never itself, if n > 1."""
    others = torch.empty_like(x)
    others[order] = x[order.roll(1)]
    return others
