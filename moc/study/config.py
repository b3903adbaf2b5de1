"""Study files: one TOML file a study, validated at once, with profiles for other machines."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from moc.data.sources import SOURCES
from moc.data.synthetic import Decoder
from moc.discrepancies import DISCREPANCIES
from moc.errors import MocError, StudyError
from moc.networks import NetworkSpec
from moc.search import ENGINES
from moc.study.combinations import refuse_combinations


class _Section(BaseModel):
    """A table of a study file: unknown keys are refused, so that a typing error is seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _network(name: str) -> str:
    NetworkSpec.parse(name)
    return name


class DataSection(_Section):
    """`[data]`: where records come from and how they are divided.

    The division is a public random permutation. `reference` records are for baselines; in a
    private study they, and unless `[privacy]` says otherwise the held-out records, are declared
    public by whoever writes the file.
    """

    source: Literal[SOURCES]  # pyright: ignore[reportInvalidTypeForm]
    path: Path | None = None
    train: int | None = Field(default=None, gt=0)
    reference: int = Field(default=0, ge=0)
    validation: int = Field(gt=0)
    test: int = Field(gt=0)


class PrivacySection(_Section):
    """`[privacy]`: its presence makes a study private.

    `epsilons` is the ladder, largest first, and its first entry is the budget for everything that
    the study does. Of the 1/σ² of its last entry, the share `training` pays for DP training (see
    `[teacher]`), which readers of every rung are charged. Of the 1/σ² that this leaves, the share
    `scoring` pays for scores on private held-out records; 0 declares them public. Of the rest,
    which is the release's, the share `attacked` goes to the round of attacked records where
    `[objectives]` asks for one: half of it if left out.

    `second` and `counts` are the shares of a record's squared norm, in every round of the release,
    that second moments and the number of records in each class get; class means have the rest.
    Without counts the classes are taken to be of one size.

    `evidence` is what sets are compared with: the `moments` that were released or, at no further
    cost, the records of a `proxy` that is made from each rung (`proxy_per_class` and `proxy_steps`
    in `[teacher]`), which any discrepancy may read, attack and look at through any network.
    """

    epsilons: tuple[float, ...] = Field(min_length=1)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    networks: int = Field(default=64, gt=0)
    second: float = Field(default=0.0, ge=0, lt=1)
    counts: float = Field(default=0.01, ge=0, lt=1)
    width: int | None = Field(default=None, gt=0)
    tier: Literal["standard", "hardened"] = "standard"
    training: float = Field(default=0.0, ge=0, lt=1)
    scoring: float = Field(default=0.0, ge=0, lt=1)
    attacked: float | None = Field(default=None, gt=0, lt=1)
    evidence: Literal["moments", "proxy"] = "moments"

    @field_validator("epsilons")
    @classmethod
    def _falling(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) <= 0 or list(value) != sorted(set(value), reverse=True):
            raise ValueError(f"positive epsilons, largest first, expected; found {list(value)}")
        return value


class BankSection(_Section):
    """`[bank]`: the networks under which T and S are compared.

    Public random ones or, in open studies, `pretrained` ones: `count` networks trained for `steps`
    steps on samples of T, `plain` or `adversarial` (against the study's threat), each kept at
    `stages` stages of its training. Where a private study reads a proxy, `views` are the random
    networks that it is looked at through: any will do, while those of the release have to be many
    and cheap. Of the same architectures if left out; without augmentation in any case.
    """

    networks: tuple[str, ...] = ("convnet2-w32",)
    views: tuple[str, ...] = ()
    augmentation: bool = False
    pretrained: Literal["none", "plain", "adversarial"] = "none"
    count: int = Field(default=4, gt=0)
    stages: int = Field(default=4, gt=0)
    steps: int = Field(default=100, gt=0)

    _parse = field_validator("networks", "views")(lambda names: tuple(_network(n) for n in names))


class ObjectivesSection(_Section):
    """`[objectives]`: which discrepancy, and how the adversarial objective is made of it.

    `attack`: the discrepancy on records under attack (of T in open studies, of a proxy in private
    ones), against their labels or, with `targets = "teacher"`, what a robust teacher says of them
    unattacked; the attack has `attack_share` of the threat's eps.
    `release`: the discrepancy on a second release, of records attacked under heads from the first
    (private studies; takes the share `attacked` of the budget, see `[privacy]`).
    `curvature`: the discrepancy on clean records plus `curvature` times the curvature of the risk
    there (records as for `attack`; a baseline prone to masking, never a claim).
    `teacher`: agreement with networks trained adversarially on what condensation may read.
    """

    generalization: Literal[tuple(DISCREPANCIES)] = "feature-mean"  # pyright: ignore[reportInvalidTypeForm]
    adversarial: Literal["attack", "release", "teacher", "curvature"] = "teacher"
    ridge: float = Field(default=0.5, gt=0)
    curvature: float = Field(default=1.0, ge=0)
    batch: int = Field(default=256, gt=0)
    attacked: int = Field(default=64, gt=0)
    attack_steps: int = Field(default=4, gt=0)
    attack_share: float = Field(default=1.0, gt=0, le=1)
    targets: Literal["labels", "teacher"] = "labels"


class TeacherSection(_Section):
    """`[teacher]`: training on samples of T or, in a private study, as `source` says.

    `proxy`: on a larger synthetic set made from the release, for every rung, at no further cost:
    `proxy_per_class` records a class, `proxy_steps` steps at `proxy_lr` (of `[condense]` if left
    out).
    `dp-training`: on T by DP-SGD, for all rungs, paid for by the share `training` of the budget;
    `batch` is then the expected size of a Poisson sample, `clip` bounds a record's gradient, and
    `dp_lr` takes the place of `lr`.
    Records are attacked by `attack_steps` steps within `[threat]` unless `adversarial` is false.
    """

    source: Literal["proxy", "dp-training"] = "proxy"
    adversarial: bool = True
    network: str = "convnet2-w32"
    count: int = Field(default=1, gt=0)
    steps: int = Field(default=300, gt=0)
    batch: int = Field(default=128, gt=0)
    lr: float = Field(default=0.03, gt=0)
    dp_lr: float = Field(default=1.0, gt=0)
    clip: float = Field(default=1.0, gt=0)
    proxy_per_class: int = Field(default=50, gt=0)
    proxy_steps: int = Field(default=300, gt=0)
    proxy_lr: float | None = Field(default=None, gt=0)

    _parse = field_validator("network")(_network)


class ThreatSection(_Section):
    """`[threat]`: what robustness is measured against, in pixel units of [0, 1]."""

    norm: Literal["Linf", "L2"] = "Linf"
    eps: float = Field(default=0.1, ge=0)


class CondenseSection(_Section):
    """`[condense]`: size and schedule of the synthetic sets.

    `pool` networks are trained on each set while it is condensed, and the discrepancies look
    through them instead of random ones (open studies, and private ones that read a proxy).
    `factor`, `copies` and `copy_noise` are those of `Decoder`: training images in each stored one.
    """

    per_class: int = Field(default=10, gt=0)
    steps: int = Field(default=300, gt=0)
    warm: int = Field(default=0, ge=0)
    networks: int = Field(default=1, gt=0)
    lr: float = Field(default=0.05, gt=0)
    labels: Literal["hard", "learned"] = "learned"
    factor: int = Field(default=1, gt=0)
    copies: int = Field(default=1, gt=0)
    copy_noise: float = Field(default=0.2, gt=0, le=1)
    pool: int = Field(default=0, ge=0)
    pool_age: int = Field(default=100, gt=0)
    pool_inner: int = Field(default=1, gt=0)
    scalariser: Literal["stch", "linear"] = "stch"

    @property
    def decoder(self) -> Decoder:
        """Turns what is stored into training records."""
        return Decoder(factor=self.factor, copies=self.copies, noise=self.copy_noise)


class EvaluateSection(_Section):
    """`[evaluate]`: the protocol, and how many fresh networks are trained on every set.

    The finished front and the baselines are measured on test records: on the first
    `report_records` of them (all if left out), under the attacks of `report_suite` (the
    protocol's own if left out; `full` is AutoAttack and slow on a CPU), with `report_replicates`
    networks a set (0 for no measurement on test records at all).
    """

    protocol: Literal["fast", "standard"] = "fast"
    replicates: int = Field(default=3, gt=0)
    report_replicates: int = Field(default=3, ge=0)
    report_suite: Literal["fast", "standard", "full"] | None = None
    report_records: int | None = Field(default=None, gt=0)


class SearchSection(_Section):
    """`[search]`: who asks for weightings, how many, and how many are condensed together.

    A private study searches every rung by itself, in turn. `initial` points of a Bayesian search
    (on every rung) come from the Sobol sequence.
    """

    engine: Literal[ENGINES] = "bayesian"  # pyright: ignore[reportInvalidTypeForm]
    initial: int = Field(default=2, ge=2)
    trials: int = Field(default=24, gt=0)
    batch: int = Field(default=6, gt=0)


class StudyConfig(_Section):
    """A whole study file; see the README for what each table means."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    threads: int | None = Field(default=None, gt=0)
    workers: int | None = Field(default=None, gt=0)
    data: DataSection
    privacy: PrivacySection | None = None
    bank: BankSection = BankSection()
    objectives: ObjectivesSection = ObjectivesSection()
    teacher: TeacherSection = TeacherSection()
    threat: ThreatSection = ThreatSection()
    condense: CondenseSection = CondenseSection()
    evaluate: EvaluateSection = EvaluateSection()
    search: SearchSection = SearchSection()

    @property
    def privacy_pays_for_scores(self) -> bool:
        """Whether held-out records are private and scored with paid noise."""
        return self.privacy is not None and self.privacy.scoring > 0

    def check(self) -> StudyConfig:
        """Refuse combinations that would fail later."""
        refuse_combinations(self)
        return self


def load_config(path: Path, *, profile: str | None = None) -> StudyConfig:
    """Read and validate a study file.

    Args:
        path: The TOML file.
        profile: Name of a `[profile.NAME]` table whose entries replace those of the file.

    Raises:
        StudyError: With every fault of the file at once, each with its place.
    """
    if not path.is_file():
        raise StudyError(f"There is no study file at {path}.")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not a TOML file: {error}") from None
    profiles = tables.pop("profile", {})
    if profile is not None:
        if profile not in profiles:
            known = ", ".join(profiles) or "none"
            raise StudyError(f"{path} has no profile {profile!r}; it has: {known}.")
        tables = _merge(tables, profiles[profile])
    return parse_config(tables, where=str(path))


def parse_config(tables: dict[str, Any], *, where: str) -> StudyConfig:
    """Validate tables that were read from `where`; see `load_config`."""
    try:
        return StudyConfig.model_validate(tables).check()
    except ValidationError as error:
        faults = [
            f"  {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise StudyError(f"{where} has faults:\n" + "\n".join(faults)) from None
    except MocError as error:
        raise StudyError(f"{where}: {error}") from None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `over`, table by table."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged
