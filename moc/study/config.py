"""Study files: one TOML file a study, validated at once, with profiles for other machines."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from moc.attacks.threat import Threat
from moc.condense.settings import CondenseSettings
from moc.data.declared import NOTHING, Declared
from moc.data.sources import SOURCES, Source
from moc.discrepancies.base import Discrepancy
from moc.discrepancies.feature_mean import FeatureMean
from moc.errors import MocError, StudyError
from moc.evaluate.protocols import PROTOCOLS, TrainingProtocol
from moc.evaluate.suites import SUITES, Suite
from moc.evidence.kinds import EVIDENCE, EvidencePart
from moc.methods import Method, method_called
from moc.networks.teachers import TeacherSettings
from moc.objectives.base import Objective, read_objectives
from moc.parts import describe
from moc.privacy.ladder import PrivacySettings
from moc.privacy.release import Round
from moc.search.engines import ENGINES, EngineSettings
from moc.search.space import Space, Weights, recipes_of
from moc.study.combinations import combinations
from moc.study.executors.base import EXECUTORS, ExecutorPart
from moc.study.executors.local import Local
from moc.study.stop_rules import StopSettings


class _Table(BaseModel):
    """A table of a study file: unknown keys are refused, so that a typing error is seen."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)


class DataTable(_Table):
    """`[data]`: where records come from, how they are divided, and which of them are public.

    Content and `split_seed` fix the division. In a private study every part is protected but those
    that are declared public here: what else is kept apart from T is then not read, or paid for.

    Attributes:
        source: Part.
        declared: Table.
        public: Which of `reference`, `validation` and `test` are public.
        public_source: Part: another source, public as a whole, that all parts but T come from.
        split_seed: Public seed of the division, apart from that of the study.
        duplicates: Copies of records of T, in T or another part: `refuse` them, `drop` them, or
            `keep` them, where k copies cost k times epsilon and what is public is not protected.
        train: Records of T; all that the others leave if left out.
        reference: Records for baselines, and for transfer in a private study; none without it.
        validation: Records that steer the search.
        validation_from: The section of the source that they come from: `train`, or `validation`
            where it has one of its own.
        test: Records of the report; of the source's own test section where it has one.
    """

    source: Annotated[Source, SOURCES]
    declared: Declared = NOTHING
    public: tuple[Literal["reference", "validation", "test"], ...] = ()
    public_source: Annotated[Source, SOURCES] | None = None
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    duplicates: Literal["refuse", "drop", "keep"] = "refuse"
    train: int | None = Field(default=None, gt=0)
    reference: int = Field(default=0, ge=0)
    validation: int = Field(gt=0)
    validation_from: Literal["train", "validation"] = "train"
    test: int = Field(gt=0)


class EvaluateTable(_Table):
    """`[evaluate]`: the protocol, and how many fresh networks are trained on every set.

    The search is steered by validation records; the finished front and the baselines are measured
    on test records.

    Attributes:
        protocol: Part: how networks are trained, and the attacks on them.
        replicates: Networks a set in the search.
        report_replicates: Networks a set on test records; 0 for no such measurement.
        report_suite: Part: attacks on test records, such as `full` (AutoAttack, slow on a CPU);
            those of the protocol if left out.
        report_records: How many test records, the first ones; all if left out.
    """

    protocol: Annotated[TrainingProtocol, PROTOCOLS] = Field(default="fast", validate_default=True)
    replicates: int = Field(default=3, gt=0)
    report_replicates: int = Field(default=3, ge=0)
    report_suite: Annotated[Suite, SUITES] | None = None
    report_records: int | None = Field(default=None, gt=0)


class SearchTable(_Table):
    """`[search]`: who asks for points, how many times, and how many at once.

    A private study searches every rung by itself, side by side. A point is a weight of each loss
    and, where there are `choices`, a value of each: `"condense.lr" = [0.01, 0.03]` under
    `[search.choices]` lets the search choose the learning rate, `method = ["dm", "m3d"]` one of
    the named methods, put over what the file says. Each combination is a recipe, with
    a curve of its own. The first values are those of the anchors.

    Attributes:
        engine: Part.
        trials: How many in all, beside one anchor a rung for each loss.
        batch: How many are scored side by side on a rung.
        choices: Values by dotted key of the study file, under `condense` or `objectives`; numbers
            should rise.
        recipe_cost: What a curve of a new recipe costs, in further points of one that is there;
            engines that weigh gain against cost count with it.
        stop: Table.
    """

    engine: Annotated[EngineSettings, ENGINES] = Field(default="bayesian", validate_default=True)
    trials: int = Field(default=24, gt=0)
    batch: int = Field(default=6, gt=0)
    choices: dict[str, tuple[Any, ...]] = {}
    recipe_cost: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    stop: StopSettings = StopSettings()


class StudyConfig(_Table):
    """A whole study file; `docs/study-file.md` lists every table and part.

    Attributes:
        name: Names the folder under `runs` and the experiment in MLflow.
        seed: Public seed of everything but noise and the division: networks, starts, search.
        method: A published method, whose settings count where this file has none of its own;
            `moc methods` lists them.
        device: `cpu`, `cuda`, or `auto`.
        threads: Of torch in the study's own process, as many as torch takes if left out; workers
            have one each.
        data: Table.
        threat: Table: what robustness is measured and condensed against.
        privacy: Table; without it the study is open.
        rounds: Tables: passes over T, for evidence that is released; one with defaults if left out.
        evidence: Part: what condensation sees. `samples` in an open study, `moments` in a private
            one if left out.
        objectives: Tables by name, two to six; the name is the kind, or the table has one. Clean
            and robust error if left out; a private study adds epsilon.
        teacher: Table.
        condense: Table.
        evaluate: Table.
        search: Table.
        executor: Part: where trials run.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0, lt=2**32)
    method: str | None = None
    device: str = "auto"
    threads: int | None = Field(default=None, gt=0)
    data: DataTable
    threat: Threat = Threat(eps=0.1)
    privacy: PrivacySettings | None = None
    rounds: tuple[Round, ...] = ()
    evidence: Annotated[EvidencePart, EVIDENCE]
    objectives: dict[str, SerializeAsAny[Objective]]
    teacher: TeacherSettings = TeacherSettings()
    condense: CondenseSettings = CondenseSettings()
    evaluate: EvaluateTable = EvaluateTable()
    search: SearchTable = SearchTable()
    executor: Annotated[ExecutorPart, EXECUTORS] = Local()

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, tables: dict[str, Any]) -> dict[str, Any]:
        """Defaults that depend on whether the study is private."""
        own = tables.get("objectives") or {"error": {}, "robust_error": {}}
        if tables.get("method") is not None:
            tables = merge(_entries_of(tables["method"]), {**tables, "objectives": own})
        private = tables.get("privacy") is not None
        objectives = dict(tables.get("objectives") or own)
        if private and "epsilon" not in objectives:
            objectives["epsilon"] = {}
        evidence = tables.get("evidence") or ("moments" if private else "samples")
        kind = evidence.get("kind") if isinstance(evidence, dict) else evidence
        released = kind not in EVIDENCE.parts or EVIDENCE.parts[kind].released
        rounds = tables.get("rounds") or ([{}] if released else [])
        return {**tables, "objectives": objectives, "evidence": evidence, "rounds": rounds}

    @field_validator("objectives", mode="before")
    @classmethod
    def _objectives(cls, tables: Mapping[str, Any]) -> dict[str, Objective]:
        try:
            return read_objectives(tables)
        except StudyError as error:
            raise ValueError(str(error)) from None

    @property
    def discrepancy(self) -> Discrepancy:
        """That of the first objective that names one."""
        named = (getattr(one, "discrepancy", None) for one in self.objectives.values())
        return next((one for one in named if one is not None), FeatureMean())

    @property
    def weighed(self) -> tuple[str, ...]:
        """The objectives that condensation minimises, by weights that are searched."""
        return tuple(name for name, one in self.objectives.items() if one.weighed)

    @property
    def on_curves(self) -> bool:
        """Whether the sets of a rung are points of one curve."""
        return self.condense.front == "curve" and len(self.weighed) > 1

    @property
    def planned_trials(self) -> int:
        """Anchors (each loss alone, on every rung) and the search's own trials."""
        searched = self.search.trials if len(self.weighed) > 1 else 0
        return len(self.weighed) * self.rung_count + searched

    @property
    def pays_for_scores(self) -> bool:
        """Whether held-out records are private and scored with paid noise."""
        return self.privacy is not None and self.privacy.scoring > 0

    @property
    def rung_count(self) -> int:
        """Number of rungs; an open study has one."""
        return len(self.privacy.epsilons) if self.privacy else 1

    @property
    def space(self) -> Space:
        """What the search of a rung may propose."""
        return Space(
            weights=Weights(names=self.weighed),
            choices={name: len(values) for name, values in self.search.choices.items()},
            recipe_cost=self.search.recipe_cost,
        )

    @property
    def recipes(self) -> tuple[StudyConfig, ...]:
        """The study under every recipe, by its number; itself where there are no choices.

        Raises:
            StudyError: If a choice is no key of the study file, or a value does not fit.
        """
        if not self.search.choices:
            return (self,)
        found = []
        for chosen in recipes_of(self.search.choices):
            tables = self.model_dump()
            tables["search"]["choices"] = {}
            for key, value in chosen.items():
                if key == "method":
                    tables = merge({**tables, "method": None}, _chosen_method(value).study)
                else:
                    _put(tables, key, value)
            found.append(parse_config(tables, where=f"[search.choices] {chosen}"))
        return tuple(found)

    def check(self) -> StudyConfig:
        """Refuse combinations that would fail later or be ignored.

        Raises:
            StudyError: With what to change.
        """
        for wrong, words in combinations(self):
            if wrong:
                raise StudyError(words)
        for objective in self.objectives.values():
            objective.check(self.discrepancy)
        assert self.recipes, "every recipe is checked too"
        return self


def load_config(path: Path, *, profile: str | None = None) -> StudyConfig:
    """Read and validate a study file; paths in it are relative to its folder.

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
        tables = merge(tables, profiles[profile])
    return parse_config(tables, where=str(path), home=path.absolute().parent)


def parse_config(tables: dict[str, Any], *, where: str, home: Path | None = None) -> StudyConfig:
    """Validate tables that were read from `where`; see `load_config`.

    Args:
        tables: Of a study file.
        where: What to call it in an error.
        home: The folder that paths in it are relative to; that of the process if left out.

    Raises:
        StudyError: With every fault of the file at once, each with its place.
    """
    try:
        return StudyConfig.model_validate(tables, context=home).check()
    except ValidationError as error:
        raise StudyError(f"{where} has faults:\n  {describe(error)}") from None
    except MocError as error:
        raise StudyError(f"{where}: {error}") from None


def _entries_of(method: object) -> dict[str, Any]:
    """Entries of the study file that a method stands for."""
    try:
        return method_called(str(method)).study
    except StudyError as error:
        raise ValueError(str(error)) from None


def _chosen_method(name: object) -> Method:
    """A method among the choices of a search.

    Raises:
        StudyError: If it is none, or changes more than a recipe may.
    """
    method = method_called(str(name))
    if not method.can_be_chosen:
        raise StudyError(
            f"[search.choices] method: {method.name!r} changes [evidence], which all recipes of a "
            f"study share. Make a study of it, with method = {method.name!r}."
        )
    return method


def _put(tables: dict[str, Any], key: str, value: Any) -> None:  # noqa: ANN401
    """Set the entry at a dotted key; an objective may be one that has a dash in its name."""
    *path, last = key.split(".")
    place: Any = tables
    for step in path:
        place = place.get(step) if isinstance(place, dict) else None
    if path[:1] not in (["condense"], ["objectives"]) or not isinstance(place, dict):
        raise StudyError(
            f"[search.choices] {key!r}: a dotted key of a table under [condense] or [objectives] "
            "expected, such as 'condense.lr' or 'objectives.error.discrepancy', or 'method'."
        )
    place[last] = value


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `over`, table by table; another `kind` starts a table anew."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            same = value.get("kind", old.get("kind")) == old.get("kind")
            value = merge(old, value) if same else value
        merged[key] = value
    return merged
