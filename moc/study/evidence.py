"""What condensation sees in a study: samples of T, moments of a release, or proxies made of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from moc.condense.loop import CondenseSettings
from moc.condense.pretrained import pretrain
from moc.condense.proxy import Proxies, Proxy, make_proxies
from moc.condense.scalarise import make_scalariser
from moc.condense.teacher import TeacherSettings
from moc.data.storage import load_set, save_set
from moc.evidence.batches import AttackedBatch
from moc.evidence.samples import Samples
from moc.networks import NetworkSpec
from moc.study.releases import attack_of, bank_of, draw_moments, threat_of

if TYPE_CHECKING:
    from pathlib import Path

    from moc.bank import Bank
    from moc.evidence.batches import Batches
    from moc.evidence.ledger import Ledger
    from moc.evidence.moments import Moments
    from moc.study.config import StudyConfig
    from moc.study.reporter import Reporter

_VIEWS = 50_000  # on top of the seed of the networks that the release was drawn under


def evidence_of(
    config: StudyConfig, ledger: Ledger, folder: Path, reporter: Reporter
) -> Batches | Moments:
    """What condensation sees of the `train` records of a ledger; a release is kept in `folder`."""
    if config.privacy is None:
        return _pretrained(config, _samples(config, ledger), reporter)
    moments = draw_moments(config, ledger, folder, reporter)
    if config.privacy.evidence == "moments":
        return moments
    return Proxies(
        _stored_proxies(config, moments, folder, reporter),
        epsilons=moments.epsilons,
        bank=_views(config, moments.statistics.bank),
        attacked=_attacked(config),
        batch=config.objectives.batch,
        seed=config.seed,
    )


def condense_settings(config: StudyConfig) -> CondenseSettings:
    """Size and schedule of the sets."""
    c = config.condense
    return CondenseSettings(
        per_class=c.per_class,
        steps=c.steps,
        warm=c.warm,
        networks=c.networks,
        lr=c.lr,
        labels=c.labels,
        decoder=c.decoder,
        pool=c.pool,
        pool_age=c.pool_age,
        pool_inner=c.pool_inner,
        scalariser=make_scalariser(c.scalariser),
    )


def teacher_settings(
    config: StudyConfig, *, network: str, count: int, steps: int
) -> TeacherSettings:
    """How networks are trained on batches of records, by the schedule of `[teacher]`."""
    return TeacherSettings(
        network=NetworkSpec.parse(network),
        count=count,
        steps=steps,
        batch=config.teacher.batch,
        lr=config.teacher.lr,
        attack_steps=config.objectives.attack_steps,
    )


def proxies_of(config: StudyConfig, moments: Moments, reporter: Reporter) -> list[Proxy]:
    """A proxy from every rung of a release."""
    t, made = config.teacher, condense_settings(config)
    with reporter.stage("a proxy from the release, for every rung") as progress:
        return make_proxies(
            moments,
            per_class=t.proxy_per_class,
            settings=replace(made, steps=t.proxy_steps, lr=t.proxy_lr or made.lr, pool=0),
            seed=config.seed,
            progress=progress,
        )


def _stored_proxies(
    config: StudyConfig, moments: Moments, folder: Path, reporter: Reporter
) -> list[Proxy]:
    """The same, read back where a run that was interrupted had made them.

    A proxy's file is named after the rung that it was made from and how, so that no set is ever
    condensed from the proxy of another release than the one in the ledger.
    """
    made = config.teacher.model_dump_json() + config.condense.model_dump_json() + str(config.seed)
    rungs = [folder / "release" / f"rung-{i}.safetensors" for i in range(len(moments.epsilons))]
    names = [hashlib.sha256(rung.read_bytes() + made.encode()).hexdigest() for rung in rungs]
    paths = [folder / "proxies" / f"{i}-{n[:16]}.safetensors" for i, n in enumerate(names)]
    if all(path.exists() for path in paths):
        return [Proxy(load_set(path), moments.device) for path in paths]
    proxies = proxies_of(config, moments, reporter)
    for proxy, path in zip(proxies, paths, strict=True):
        save_set(proxy.synthetic, path)
    return proxies


def _views(config: StudyConfig, release: Bank) -> Bank:
    """Networks to look at proxies through, as they are; none that the release was drawn under."""
    specs = tuple(NetworkSpec.parse(name) for name in config.bank.views) or release.specs
    seed = config.seed + _VIEWS
    return replace(release, specs=specs, seed=seed, width=None, augmentation=None)


def _attacked(config: StudyConfig) -> AttackedBatch:
    o, threat = config.objectives, threat_of(config)
    within = replace(threat, eps=o.attack_share * threat.eps)
    return AttackedBatch(attack=attack_of(config), threat=within, batch=o.attacked)


def _samples(config: StudyConfig, ledger: Ledger) -> Samples:
    return Samples(
        ledger,
        bank=bank_of(config, ledger.info("train")),
        attacked=_attacked(config),
        batch=config.objectives.batch,
        seed=config.seed,
    )


def _pretrained(config: StudyConfig, samples: Samples, reporter: Reporter) -> Samples:
    """Samples under the bank that an open study asks for: random networks, or trained ones."""
    b = config.bank
    if b.pretrained == "none":
        return samples
    threat = threat_of(config)
    with reporter.stage(f"{b.count} networks of the bank, {b.pretrained} training") as progress:
        bank = pretrain(
            bank_of(config, samples.info),
            samples,
            settings=teacher_settings(config, network=b.networks[0], count=b.count, steps=b.steps),
            stages=b.stages,
            threat=threat if b.pretrained == "adversarial" else replace(threat, eps=0.0),
            progress=progress,
        )
    return samples.under(bank)
