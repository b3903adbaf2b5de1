"""A small but real study folder, without condensing or training anything."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from ledgers import rewrite_settings, write_events

from moc.data.declared import DataInfo
from moc.data.storage import save_set
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.evaluate.scores import Estimate
from moc.privacy.ladder import Rung
from moc.study.config import parse_config
from moc.study.findings import MaskingChecks, RobustnessCurve
from moc.study.records import Baseline, StudyRecord, Trial
from moc.study.standing import objective_values

if TYPE_CHECKING:
    from pathlib import Path

RUNGS = (8.0, 4.0, 2.0)
MORE = ("worst_class_error", "calibration_error", "stored_bytes")
"""Objectives that a study may have besides."""


def fake_set(shape=(1, 8, 8), *, classes=10, per_class=3, seed=0) -> SyntheticSet:
    """Smooth random records, alike within a class."""
    generator = torch.Generator().manual_seed(seed)
    y = balanced_labels(per_class, classes)
    means = torch.rand(classes, *shape, generator=generator)
    x = (means[y] + 0.25 * torch.randn(len(y), *shape, generator=generator)).clamp(0, 1)
    info = DataInfo(
        name="digits",
        shape=shape,
        classes=tuple(str(k) for k in range(classes)),
        count=1297,
        mean=(0.3,) * (shape[0] if len(shape) == 3 else 1),
        std=(0.35,) * (shape[0] if len(shape) == 3 else 1),
    )
    return SyntheticSet(info=info, x=x, labels=one_hot(y, classes))


def fake_study(
    folder: Path,
    *,
    private=True,
    trials=14,
    reports=True,
    complete=True,
    shape=(1, 8, 8),
    failing: tuple[int, ...] = (),
    more: tuple[str, ...] = (),
) -> StudyRecord:
    """Write random sets into `folder` and return the record of a study that made them.

    The first trials of a longer study are the trials of a shorter one. With `reports`, every set
    of the front has been examined; `failing` are the places on the front that fail a check, `more`
    objectives beside error, robust error and epsilon.
    """
    config = _config(private=private, trials=trials, more=more)
    names = tuple(config.objectives)
    made = [_trial(folder, k, names, private=private, shape=shape) for k in range(trials)]
    values, spread = objective_values([t.scores for t in made], config.objectives)
    front = [k for k in np.argsort(values[:, 0]) if nondominated(values)[k]] if made else []
    rng = np.random.default_rng(1)
    draws = [nondominated(rng.normal(values, spread)) for _ in range(200)]
    if reports:
        made = [_with_report(t) if t.number in front else t for t in made]
    examined = [int(k) for k in front] if reports else []
    baselines = _baselines(names, reports=reports)
    rewrite_settings(folder, config)
    write_events(folder, [{"event": "started"}])
    return StudyRecord(
        name=config.name,
        folder=folder,
        config=config.model_dump(mode="json"),
        objectives=config.objectives,
        trials=tuple(made),
        baselines=baselines,
        front=tuple(int(k) for k in front),
        p_nondominated=dict(enumerate(np.mean(draws, axis=0).tolist())) if made else {},
        hypervolume=tuple(0.62 * (1 - math.exp(-(k + 1) / 5)) for k in range(trials)),
        epsilon=8.31 if private else math.inf,
        delta=1e-5 if private else None,
        privacy=(
            "release: 1297 records, one full pass, rungs 8, 4, 2: epsilon 8 at delta 1e-05",
            "scoring: 200 held-out private records, 14 trials: epsilon 8 -> 8.31",
        )
        if private
        else ("T was sampled 400 times without noise: no privacy is promised",),
        protocol="convnet2-w8 from fresh weights; suite 'fast'.",
        masking=tuple(_checks(k, ok=p not in failing) for p, k in enumerate(examined)),
        curves=tuple(
            _curve(item) for item in [*(made[k] for k in examined), *(baselines if reports else ())]
        ),
        unexamined="" if reports else "they come at the end of the study",
        complete=complete,
    )


def _config(*, private: bool, trials: int, more: tuple[str, ...]):
    """A configuration that moc would accept."""
    objectives = {name: {} for name in ("error", "robust_error")}
    if private:
        objectives["epsilon"] = {}
    tables = {
        "name": "demo" if private else "demo-open",
        "seed": 7,
        "data": {
            "source": "digits",
            "validation": 200,
            "test": 200,
            "public": ["validation", "test"],
        },
        "objectives": objectives | {name: {} for name in more},
        "condense": {"images_per_class": 3, "front": "apart"},
        "search": {"engine": "sobol", "trials": max(trials, 1)},
    }
    if private:
        tables |= {"privacy": {"epsilons": list(RUNGS)}, "evidence": "proxy"}
    return parse_config(tables, where="fake")


def nondominated(values: np.ndarray) -> np.ndarray:
    """Which rows no other row dominates, straight from the definition."""
    le = (values[:, None] <= values[None]).all(-1)
    lt = (values[:, None] < values[None]).any(-1)
    return ~(le & lt).any(0)


def _checks(number: int, *, ok: bool) -> MaskingChecks:
    rows = (
        ("PGD is no weaker than FGSM", ok, "49.0% against 63.0%"),
        ("same twice", True, "yes"),
    )
    return MaskingChecks(trial=number, checks=rows, transfer="network 1 was trained plainly")


def _curve(item: Trial | Baseline) -> RobustnessCurve:
    """A straight line through the two errors on test records, at eps 0 and 0.1."""
    low, high = (item.report[name].mean for name in ("error", "robust_error"))
    return RobustnessCurve(
        name=item.name,
        eps=(0.0, 0.05, 0.1),
        errors=tuple(Estimate(mean=low + k * (high - low) / 2, se=0.01) for k in range(3)),
        attacks=("pgd-ce-20", "pgd-margin-20"),
        records=200,
        networks=3,
    )


def _trial(
    folder: Path, number: int, names: tuple[str, ...], *, private: bool, shape: tuple[int, ...]
) -> Trial:
    rng = np.random.default_rng(100 + number)
    share = (0.0, 1.0)[number] if number < 2 else float(rng.uniform())
    index = number % 3
    epsilon = RUNGS[index] if private else math.inf
    cost = 0.22 / epsilon
    error = 0.12 + cost + 0.22 * share**1.6 + abs(rng.normal(0, 0.035))
    robust = 0.38 + 0.8 * cost + 0.34 * (1 - share) ** 1.6 + abs(rng.normal(0, 0.035))
    path = f"sets/trial-{number:03d}.safetensors"
    save_set(fake_set(shape, seed=number), folder / path)
    weights = {"error": 1 - share, "robust_error": share}
    return Trial(
        number=number,
        kind="anchor" if number < 2 else "search",
        point={"robust_error": share},
        weights=weights,
        rung=Rung(index=index, epsilon=epsilon, sigma=2.0 / epsilon) if private else None,
        epsilon=epsilon,
        scores=_scores(names, error, robust, epsilon, rng),
        losses={"error": 1.0 - 0.5 * (1 - share), "robust_error": 1.2 - 0.5 * share},
        set_path=path,
        seconds=3.5 + number / 8,
    )


def _scores(
    names: tuple[str, ...],
    error: float,
    robust: float,
    epsilon: float = math.inf,
    rng: np.random.Generator | None = None,
) -> dict[str, Estimate]:
    se = (0.009, 0.014) if rng is None else (0.005 + 0.01 * rng.uniform(), 0.012)
    found = {
        "error": Estimate(mean=error, se=se[0]),
        "robust_error": Estimate(mean=robust, se=se[1]),
        "epsilon": Estimate(mean=epsilon),
        "worst_class_error": Estimate(mean=min(1.9 * error, 1.0), se=0.05),
        "calibration_error": Estimate(mean=0.3 - robust / 3, se=0.02),
        "stored_bytes": Estimate(mean=7680.0),
    }
    return {name: found[name] for name in names if math.isfinite(found[name].mean)}


def _with_report(trial: Trial) -> Trial:
    error, robust = (trial.scores[name].mean for name in ("error", "robust_error"))
    report = _scores(tuple(trial.scores), error + 0.01, robust + 0.015, trial.epsilon)
    return replace(trial, report=report)


def _baselines(names: tuple[str, ...], *, reports: bool) -> tuple[Baseline, ...]:
    rows = {"random": (0.36, 0.83), "herding": (0.30, 0.80), "kmeans": (0.27, 0.77)}
    return tuple(
        Baseline(
            name=name,
            scores=_scores(names, *pair),
            report=_scores(names, pair[0] + 0.01, pair[1] + 0.01) if reports else None,
        )
        for name, pair in rows.items()
    )
