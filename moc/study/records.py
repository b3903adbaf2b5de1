"""What a study is made of, as records that every view (table, report, MLflow, policy) reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from moc.evaluate.scores import Scores
    from moc.search.space import Weighting


def trial_name(number: int) -> str:
    """The name of a trial in tables, folders and MLflow: `trial-007`."""
    return f"trial-{number:03d}"


def set_path(name: str) -> str:
    """Where the set of a trial or baseline lies, relative to the study folder."""
    return f"sets/{name}.safetensors"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One finished trial: a weighting, the set condensed for it, and what the set is worth.

    Attributes:
        number: Position in the study, from 0; anchors come first.
        kind: `anchor` (one discrepancy alone, fixes the normalisation) or `search`.
        weighting: The point of the simplex that was asked for.
        rung: Epsilon of the rung of the release that the trial read; None in an open study.
        scores: Measured on validation records; what the search saw.
        report: Measured again with fresh networks on test records, for trials of the front only.
        losses: The two discrepancies of the finished set: generalization, adversarial.
        set_path: The stored set, relative to the study folder.
        seconds: Wall-clock time of condensing (its share of the batch) and of evaluating.
    """

    number: int
    kind: str
    weighting: Weighting
    rung: float | None
    scores: Scores
    report: Scores | None = None
    losses: tuple[float, float]
    set_path: str
    seconds: float

    @property
    def name(self) -> str:
        """See `trial_name`."""
        return trial_name(self.number)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A selection of real records of the same budget, scored by the same protocol.

    Attributes:
        name: `random`, `herding`, `kmeans`.
        scores: On validation records, beside the trials' `scores`.
        report: On test records, beside the trials' `report`.
    """

    name: str
    scores: Scores
    report: Scores | None = None


@dataclass(frozen=True, kw_only=True)
class MaskingChecks:
    """Whether the robust scores can be believed: checks for hidden gradients on one network.

    Attributes:
        trial: The trial examined, the most robust one of the front.
        checks: (what should hold, whether it does, the numbers behind it) for each check.
    """

    trial: int
    checks: tuple[tuple[str, bool, str], ...]

    @property
    def passed(self) -> bool:
        """Whether all hold."""
        return all(passed for _, passed, _ in self.checks)

    def words(self) -> str:
        """One line for a person; failures are named with their numbers."""
        failed = [f"{name} ({detail})" for name, passed, detail in self.checks if not passed]
        if not failed:
            return f"all {len(self.checks)} passed on a network trained on {trial_name(self.trial)}"
        return (
            f"FAILED on a network trained on {trial_name(self.trial)}, so do not rely on the "
            f"robust errors of this study: {'; '.join(failed)}"
        )


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A whole study as read back from its folder.

    Attributes:
        name: The study's name.
        folder: Its folder, the only source of truth.
        config: The resolved settings, as written to the folder (JSON types).
        trials: Finished trials by number.
        baselines: Scored baselines.
        front: Numbers of the non-dominated trials, by rising error.
        p_nondominated: For each trial number, the probability of being non-dominated.
        hypervolume: Hypervolume after each finished trial (normalised, fixed reference).
        epsilon: Total epsilon by the privacy ledger; infinity in an open study.
        delta: The delta that goes with it; None in an open study.
        privacy: The privacy ledger in words, one line an event.
        protocol: How sets were scored, in words.
        masking: Whether the robust scores can be believed; None where it was not examined.
        complete: Whether the study has run to its end.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    trials: tuple[Trial, ...]
    baselines: tuple[Baseline, ...] = ()
    front: tuple[int, ...] = ()
    p_nondominated: dict[int, float] = field(default_factory=dict)
    hypervolume: tuple[float, ...] = ()
    epsilon: float
    delta: float | None
    privacy: tuple[str, ...] = ()
    protocol: str = ""
    masking: MaskingChecks | None = None
    complete: bool = False

    def trial(self, number: int) -> Trial:
        """The trial with this number."""
        return next(trial for trial in self.trials if trial.number == number)
