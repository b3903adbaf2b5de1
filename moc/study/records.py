"""What a study is made of, as records that every view (table, report, MLflow, policy) reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moc.data.curve import Curve, load_curve
from moc.errors import StudyError
from moc.evaluate.scores import Scores
from moc.objectives.base import Objective
from moc.privacy.ladder import Rung
from moc.search.certainty import Volume
from moc.search.space import Point, Space, Weights, recipes_of
from moc.study.attempts import Failed
from moc.study.findings import Confirmation, MaskingChecks, RobustnessCurve


def trial_name(number: int) -> str:
    """The name of a trial in tables, folders and MLflow: `trial-007`."""
    return f"trial-{number:03d}"


def number_of(name: str) -> int:
    """Inverse of `trial_name`."""
    return int(name.rsplit("-", 1)[1])


def set_path(name: str) -> str:
    """Where the set of a trial or baseline lies, relative to the study folder."""
    return f"sets/{name}.safetensors"


def curve_path(rung: int, recipe: int = 0) -> str:
    """Where the curve of a rung and recipe lies, relative to the study folder."""
    return f"curves/rung-{rung}{f'-recipe-{recipe}' if recipe else ''}.safetensors"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One finished trial: a point, the set condensed for it, and what the set is worth.

    Attributes:
        number: Position in the study, from 0; anchors come first.
        kind: `anchor` (one loss alone; a corner of the curve) or `search`.
        point: What the search proposed, by variable; a weight of each loss but the first.
        weights: The weight of every loss, by objective; they sum to one.
        rung: The rung of the release that the trial read; None in an open study.
        epsilon: What the privacy ledger charges for the set: its rung, and scoring where that was
            paid for. Infinity in an open study.
        scores: Measured on validation records; what the search saw.
        report: Measured again with fresh networks on test records, for trials of the front only.
        losses: The losses of the finished set, by objective.
        set_path: The stored set, relative to the study folder.
        seconds: Wall-clock time of condensing (its share of the batch, and nothing for a curve)
            and of evaluating.
    """

    number: int
    kind: str
    point: Point
    weights: dict[str, float]
    rung: Rung | None
    epsilon: float
    scores: Scores
    report: Scores | None = None
    losses: dict[str, float]
    set_path: str
    seconds: float

    @property
    def name(self) -> str:
        """See `trial_name`."""
        return trial_name(self.number)

    @property
    def rung_index(self) -> int:
        """Index of the rung; 0 in an open study."""
        return 0 if self.rung is None else self.rung.index

    @property
    def is_private(self) -> bool:
        """Whether the set carries a finite privacy guarantee."""
        return math.isfinite(self.epsilon)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A selection of real records of the same budget, scored by the same protocol.

    Attributes:
        name: `random`, `herding`, `kmeans`.
        scores: On validation records, beside the trials' `scores`; of the measured objectives and
            the exact ones but for epsilon, which real records have none of.
        report: On test records, beside the trials' `report`.
    """

    name: str
    scores: Scores
    report: Scores | None = None


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A whole study as read back from its folder.

    Attributes:
        name: The study's name.
        folder: Its folder, the only source of truth.
        config: The resolved settings, as written to the folder (JSON types).
        objectives: The study's objectives by name, in the order of every table and array.
        trials: Finished trials by number.
        failed: Trials that have failed, which are not among `trials`.
        baselines: Scored baselines.
        front: Numbers of the non-dominated trials, by rising value of the first objective.
        p_nondominated: For each trial number, the probability of being non-dominated.
        hypervolume: Hypervolume after each finished trial (normalised, fixed frame).
        volume: How far the last of them can be believed.
        epsilon: Total epsilon by the privacy ledger; infinity in an open study.
        delta: The delta that goes with it; None in an open study.
        privacy: The privacy ledger in words, one line an event.
        protocol: How sets were scored, in words.
        masking: Whether robust scores can be believed, for each set that was examined.
        curves: Robustness curves of the front and of the baselines.
        unexamined: Why there are neither, in words; empty if there are.
        confirmations: By trial number, for those that were chosen and confirmed.
        stopped: By rung, why its search ended before its trials did, in words.
        complete: Whether the study has run to its end.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    objectives: dict[str, Objective]
    trials: tuple[Trial, ...]
    failed: tuple[Failed, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    front: tuple[int, ...] = ()
    p_nondominated: dict[int, float] = field(default_factory=dict)
    hypervolume: tuple[float, ...] = ()
    volume: Volume | None = None
    epsilon: float
    delta: float | None
    privacy: tuple[str, ...] = ()
    protocol: str = ""
    masking: tuple[MaskingChecks, ...] = ()
    curves: tuple[RobustnessCurve, ...] = ()
    unexamined: str = ""
    confirmations: dict[int, Confirmation] = field(default_factory=dict)
    stopped: dict[int, str] = field(default_factory=dict)
    complete: bool = False

    @property
    def weighed(self) -> tuple[str, ...]:
        """The objectives that condensation minimises, by weights."""
        return tuple(name for name, one in self.objectives.items() if one.weighed)

    @property
    def on_curves(self) -> bool:
        """Whether the sets of a rung are points of one curve."""
        return self.config["condense"]["front"] == "curve" and len(self.weighed) > 1

    @property
    def measured(self) -> dict[str, Objective]:
        """The objectives that are measured on held-out records."""
        return {name: one for name, one in self.objectives.items() if not one.exact}

    @property
    def is_private(self) -> bool:
        """Whether the study has a finite budget."""
        return math.isfinite(self.epsilon)

    def curve(self, epsilon: float | None = None, *, recipe: int = 0) -> Curve:
        """The front of a rung as a curve: `study.curve(4.0).at(robust_error=0.3)` is a set.

        Args:
            epsilon: The rung, by its epsilon; none in an open study.
            recipe: The number of the recipe, where the search had choices.

        Raises:
            StudyError: If there is no such rung.
            DataError: If its sets were condensed apart, or its curve is not there yet.
        """
        return self.curve_at(self.rung_index(epsilon), recipe)

    def curve_at(self, rung: int, recipe: int = 0) -> Curve:
        """The curve of the rung with this index and the recipe of this number; see `curve`."""
        return load_curve(self.folder / curve_path(rung, recipe))

    @property
    def space(self) -> Space:
        """What the search of a rung proposed."""
        choices = {name: len(values) for name, values in self.config["search"]["choices"].items()}
        return Space(weights=Weights(names=self.weighed), choices=choices)

    def recipe_words(self, recipe: int) -> str:
        """What was chosen for a recipe: `condense.lr = 0.03`; empty without choices."""
        chosen = recipes_of(self.config["search"]["choices"])[recipe]
        return ", ".join(f"{name} = {value}" for name, value in chosen.items())

    def rung_index(self, epsilon: float | None) -> int:
        """Index of a rung by its epsilon; 0 in an open study.

        Raises:
            StudyError: If there is no such rung.
        """
        rungs = (self.config["privacy"] or {}).get("epsilons", [])
        if not rungs and epsilon is None:
            return 0
        # What a rung is accounted at lies a little below what the study file asked for.
        near = [k for k, rung in enumerate(rungs) if math.isclose(rung, epsilon or 0, rel_tol=1e-3)]
        if not near:
            words = ", ".join(f"{rung:g}" for rung in rungs) or "none, as it is open"
            raise StudyError(f"A rung of study {self.name} expected, {words}; found {epsilon}.")
        return near[0]

    def trial(self, number: int) -> Trial:
        """The trial with this number."""
        return next(trial for trial in self.trials if trial.number == number)

    def checks(self, number: int) -> MaskingChecks | None:
        """The masking checks of the trial with this number; None where they were not run."""
        return next((checks for checks in self.masking if checks.trial == number), None)
