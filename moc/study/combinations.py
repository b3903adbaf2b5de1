"""Settings that are right by themselves and cannot work together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moc.discrepancies import DISCREPANCIES
from moc.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moc.study.config import PrivacySection, StudyConfig


def refuse_combinations(config: StudyConfig) -> None:
    """Refuse, in words, what would fail later or be ignored.

    Raises:
        StudyError: With what to change.
    """
    private = () if config.privacy is None else _private(config, config.privacy)
    training = () if config.privacy is None else _training(config, config.privacy)
    for wrong, words in (*private, *training, *_any(config)):
        if wrong:
            raise StudyError(words)


def _any(config: StudyConfig) -> Iterator[tuple[bool, str]]:
    adversarial, bank = config.objectives.adversarial, config.bank
    yield (
        config.privacy is None and adversarial == "release",
        "adversarial = 'release' reads a private release of attacked records, and this study has "
        "no [privacy] table; use 'attack', which attacks the records themselves, or 'teacher', or "
        "add [privacy].",
    )
    yield (
        config.objectives.targets == "teacher" and adversarial != "attack",
        "targets = 'teacher' are what predictors should say of attacked records, and only "
        "adversarial = 'attack' attacks them as it goes; remove `targets`, or use 'attack'.",
    )
    yield (
        config.privacy is None and config.teacher.source == "dp-training",
        "source = 'dp-training' in [teacher] trains with noise, and this study has no [privacy] "
        "table to pay for it; leave `source` out, or add [privacy].",
    )
    yield (
        bool(bank.views) and (config.privacy is None or config.privacy.evidence != "proxy"),
        "`views` in [bank] are networks to look at a proxy through, and only evidence = 'proxy' in "
        "[privacy] makes one; name the networks in `networks`.",
    )
    yield (
        bank.stages > bank.steps,
        f"[bank] keeps every network at {bank.stages} stages of {bank.steps} steps; at most as "
        "many stages as steps expected.",
    )
    yield (
        adversarial == "curvature" and config.objectives.generalization == "gradient-matching",
        "adversarial = 'curvature' needs a predictor fitted on S, which 'gradient-matching' has "
        "not: use 'ridge-risk' or 'feature-mean'.",
    )


def _private(config: StudyConfig, privacy: PrivacySection) -> Iterator[tuple[bool, str]]:
    adversarial = config.objectives.adversarial
    yield (
        config.bank.pretrained != "none",
        f"pretrained = {config.bank.pretrained!r} in [bank] trains networks on records of T, which "
        "a private study cannot: its networks are public. Leave it out, or remove [privacy].",
    )
    yield (
        privacy.attacked is not None and adversarial != "release",
        "`attacked` in [privacy] is the share of a second round, which only adversarial = "
        f"'release' draws, found {adversarial!r}; remove `attacked`, or ask for that objective.",
    )
    yield (
        privacy.second + privacy.counts >= 1,
        "`second` and `counts` in [privacy] leave no share of a record's norm to class means: "
        f"less than 1 together expected, found {privacy.second:g} and {privacy.counts:g}.",
    )
    yield from _proxy(config, privacy) if privacy.evidence == "proxy" else _moments(config, privacy)


def _moments(config: StudyConfig, privacy: PrivacySection) -> Iterator[tuple[bool, str]]:
    """What moments cannot be asked for."""
    adversarial, generalization = config.objectives.adversarial, config.objectives.generalization
    proxy = "Let it read a proxy made from the release (evidence = 'proxy' in [privacy])"
    yield (
        adversarial in ("attack", "curvature"),
        f"adversarial = {adversarial!r} reads records in every step, and a private study has only "
        f"moments of them. {proxy}, use adversarial = 'teacher' or 'release', or remove [privacy].",
    )
    yield (
        DISCREPANCIES[generalization].needs_records,
        f"generalization = {generalization!r} reads records in every step, and a private study has "
        f"only moments of them. {proxy}, use 'feature-mean' or 'ridge-risk', or remove [privacy].",
    )
    yield (
        bool(config.condense.pool),
        "A pool looks at records through networks trained on the set, and a private study has a "
        f"release under fixed networks instead. {proxy}, or remove `pool`, or [privacy].",
    )
    yield (
        generalization == "ridge-risk" and privacy.second == 0,
        "generalization = 'ridge-risk' needs second moments in a private study: give `second` in "
        f"[privacy] a weight, such as 0.5, or use 'feature-mean'. {proxy} to need none.",
    )


def _proxy(config: StudyConfig, privacy: PrivacySection) -> Iterator[tuple[bool, str]]:
    """What a proxy cannot be asked for."""
    needed = config.condense.per_class * config.condense.decoder.tiles
    yield (
        config.objectives.adversarial == "release",
        "adversarial = 'release' reads a second round of moments, and evidence = 'proxy' in "
        "[privacy] reads none: use adversarial = 'attack', or evidence = 'moments'.",
    )
    yield (
        privacy.second > 0,
        "`second` in [privacy] pays for second moments, which a proxy is not made from: remove it, "
        "or use evidence = 'moments'.",
    )
    yield (
        config.teacher.proxy_per_class < needed,
        f"Sets start from {needed} records a class of the proxy, and `proxy_per_class` in "
        f"[teacher] is {config.teacher.proxy_per_class}: give it at least {needed}.",
    )


def _training(config: StudyConfig, privacy: PrivacySection) -> Iterator[tuple[bool, str]]:
    teacher, records = config.teacher, config.data.train
    paid, asked = privacy.training > 0, teacher.source == "dp-training"
    yield (
        asked and not paid,
        "source = 'dp-training' in [teacher] reads T, and nothing pays for it: give `training` in "
        "[privacy] a share, such as 0.3, or use source = 'proxy'.",
    )
    yield (
        paid and not asked,
        "`training` in [privacy] is the share of DP training, which only source = 'dp-training' in "
        f"[teacher] asks for, found {teacher.source!r}; remove `training`, or ask for it.",
    )
    objectives = config.objectives
    yield (
        asked and objectives.adversarial != "teacher" and objectives.targets != "teacher",
        "source = 'dp-training' in [teacher] pays for a teacher that only adversarial = 'teacher' "
        "and targets = 'teacher' listen to, found "
        f"adversarial = {objectives.adversarial!r} in [objectives].",
    )
    yield (
        asked and records is None,
        "source = 'dp-training' in [teacher] needs `train` in [data]: the number of records, which "
        "the sample rate is made of, is declared public before they are read.",
    )
    yield (
        asked and records is not None and teacher.batch > records,
        f"DP training on Poisson samples of {teacher.batch} of {records} records cannot be: give "
        "`batch` in [teacher] at most `train` in [data].",
    )
