"""Baselines: real records of the same stored budget as a synthetic set.

They show real records, so they carry no privacy whatever they were chosen from. They may be made
from T in an open study, and in a private one only from records declared public; which records are
handed out is the evidence layer's business (`moc.privacy.held_out`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from moc.data.declared import DataInfo
from moc.data.decoder import AS_STORED, Decoder
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.data.vault import as_unit
from moc.errors import DataError, StudyError


def select(
    name: str,
    x: Tensor,
    y: Tensor,
    info: DataInfo,
    *,
    per_class: int,
    seed: int,
    decoder: Decoder = AS_STORED,
) -> SyntheticSet:
    """Choose real records, `per_class` stored ones for each class, with hard labels.

    Args:
        name: One of `BASELINES`, or `DECODED`.
        x: Real records (n, *shape), uint8 or float in [0, 1].
        y: Labels (n,).
        info: Public facts about the data.
        per_class: Stored records a class.
        seed: Public seed; herding does not use it.
        decoder: Training records in each stored one, for `DECODED` alone.

    Raises:
        DataError: If a class has too few records.
        StudyError: If there is no such baseline, or the decoder does not go with it.
    """
    if name not in (*BASELINES, DECODED):
        raise StudyError(
            f"A baseline of {', '.join((*BASELINES, DECODED))} expected, found {name!r}."
        )
    if (name == DECODED) == decoder.is_trivial:
        raise StudyError(
            f"{DECODED} needs a decoder of several training records and the others none; found "
            f"{name} with {decoder}."
        )
    needed = per_class * decoder.tiles
    pick = _PICKS["random" if name == DECODED else name]
    generator = torch.Generator().manual_seed(seed)
    require_enough(y, info, needed)
    x, chosen = as_unit(x), []
    for label in range(len(info.classes)):
        rows = (y == label).nonzero().squeeze(1)
        chosen.append(rows[pick(x[rows].flatten(1), needed, generator)])
    records = x[torch.cat(chosen)]
    labels = one_hot(balanced_labels(per_class, len(info.classes)), len(info.classes))
    return SyntheticSet(info=info, x=decoder.pack(records), labels=labels, decoder=decoder)


def require_enough(y: Tensor, info: DataInfo, needed: int) -> None:
    """Refuse labels (n,) that some class has fewer than `needed` of.

    Raises:
        DataError: If there is such a class.
    """
    for label, title in enumerate(info.classes):
        if (found := int((y == label).sum())) < needed:
            raise DataError(
                f"Baselines of real images need {needed} records of each class; class {title!r} "
                f"has {found}. Give them more records (`reference` in [data], or of T in an open "
                "study without it) or ask for fewer images a class."
            )


def _random(x: Tensor, count: int, generator: Generator) -> Tensor:
    """Any records, without replacement."""
    return torch.randperm(len(x), generator=generator)[:count]


def _herding(x: Tensor, count: int, _generator: Generator) -> Tensor:
    """Greedy mean matching on pixels (Welling 2009; iCaRL, arXiv 1611.07725).

    The k-th record is the one that brings the mean of the first k nearest to the mean of all.
    """
    x = x.double()
    mean, total = x.mean(0), torch.zeros_like(x[0])
    free = torch.ones(len(x), dtype=torch.bool)
    rows: list[Tensor] = []
    for k in range(1, count + 1):
        distance = ((total + x) / k - mean).square().sum(1)
        row = distance.where(free, torch.inf).argmin()
        rows.append(row)
        free[row] = False
        total = total + x[row]
    return torch.stack(rows)


def _kmeans(x: Tensor, count: int, generator: Generator) -> Tensor:
    """For each of `count` centres of the pixels, the nearest record that is not yet taken."""
    from sklearn.cluster import KMeans

    state = int(torch.randint(2**31, (), generator=generator))
    means = KMeans(count, n_init="auto", random_state=state).fit(x.double().numpy())
    distances = torch.cdist(torch.from_numpy(means.cluster_centers_), x.double())
    rows: list[Tensor] = []
    for distance in distances:
        row = distance.argmin()
        rows.append(row)
        distances[:, row] = torch.inf  # seen by the rows still to come, which are views
    return torch.stack(rows)


_PICKS: dict[str, Callable[[Tensor, int, Generator], Tensor]] = {
    "random": _random,
    "herding": _herding,
    "kmeans": _kmeans,
}

BASELINES = tuple(_PICKS)
"""Names of the baselines of every study."""

DECODED = "random-decoded"
"""Random records in the same stored pixels, shrunk and copied as the decoder wants them: the fair
baseline of a set with that decoder."""
