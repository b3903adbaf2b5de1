"""The other networks of the masking checks: would their adversarial records do more harm?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moc.condense.proxy import Proxy
from moc.condense.teacher import TeacherSettings, train_teachers
from moc.data.storage import load_set
from moc.data.synthetic import SyntheticSet, one_hot
from moc.evaluate import make_protocol
from moc.evaluate.robust import correct
from moc.evidence.samples import Samples
from moc.study.records import set_path, trial_name
from moc.study.releases import device_of, threat_of

if TYPE_CHECKING:
    from pathlib import Path

    from moc.condense.teacher import BatchSource
    from moc.evidence.held_out import HeldOut
    from moc.networks import Network
    from moc.study.config import StudyConfig
    from moc.study.reporter import Reporter
    from moc.study.setup import Materials

_STEPS = 300
"""At most so many; the words of a `Transfer` say what they led to."""

_SHOWN = 200
"""Test records on which the networks' own errors are counted."""

_SEED = 700_000  # no network of the search or of the report has it


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Networks to transfer attacks from.

    Attributes:
        networks: One trained plainly and one trained adversarially.
        words: What they were trained on, for a person.
    """

    networks: tuple[Network, ...]
    words: str


def train_transfer(
    config: StudyConfig,
    folder: Path,
    materials: Materials,
    reporter: Reporter,
    *,
    best: int,
    shown: HeldOut,
) -> Transfer:
    """Train both networks, with public seeds, on records that may be shown.

    Those are samples of T in an open study and records declared public in a private one. Where
    there are none, a set of the study itself stands in for them: post-processing, at no cost.

    Args:
        config: The study file; the schedule is that of `[teacher]`, at most 300 steps of it.
        folder: The study folder.
        materials: Evidence and reference records.
        reporter: Told of the training.
        best: Number of the trial of least clean error, to stand in.
        shown: Records to say on how good the networks are.
    """
    source, words = _source(config, folder, materials, best)
    network = make_protocol(config.evaluate.protocol, source.info, threat_of(config)).network
    t, threat = config.teacher, threat_of(config)
    settings = TeacherSettings(
        network=network, steps=min(t.steps, _STEPS), batch=t.batch, lr=t.lr, attack_steps=4
    )
    networks, errors = [], []
    for title, budget in (("plainly", replace(threat, eps=0.0)), ("adversarially", threat)):
        with reporter.stage(f"a network trained {title}, to transfer attacks from") as progress:
            (trained,) = train_teachers(
                source,
                settings=settings,
                threat=budget,
                seed=config.seed + _SEED,
                progress=progress,
            )
        networks.append(trained)
        errors.append(f"{title} (clean error {_error(trained, shown):.1%})")
    return Transfer(
        networks=tuple(networks),
        words=f"network 1 was trained {errors[0]}, network 2 {errors[1]}, both on {words}",
    )


def _error(network: Network, shown: HeldOut) -> float:
    """Share of the records that a network gets wrong."""
    x, y = shown.examine(_SHOWN)
    device = network.mean.device
    return 1 - float(correct(network, x.to(device), y.to(device)).float().mean())


def _source(
    config: StudyConfig, folder: Path, materials: Materials, best: int
) -> tuple[BatchSource, str]:
    """Batches of records that may be shown, and what they are."""
    info, device = materials.evidence.info, device_of(config)
    if isinstance(materials.evidence, Samples):
        return materials.evidence, "samples of the real records"
    if materials.reference is not None:
        x, y = materials.reference
        shown = SyntheticSet(info=info, x=x, labels=one_hot(y, len(info.classes)))
        return Proxy(shown, device), f"{len(y)} reference records"
    stored = load_set(folder / set_path(trial_name(best)))
    return Proxy(stored, device), f"{trial_name(best)}, as no real records may be shown"
