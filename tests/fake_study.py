"""A small but real study folder, without condensing or training anything."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from moc.data.real import DataInfo
from moc.data.storage import save_set
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.evaluate.scores import Estimate, Scores
from moc.search.space import Weighting
from moc.study.records import Baseline, Curve, MaskingChecks, StudyRecord, Trial

if TYPE_CHECKING:
    from pathlib import Path

RUNGS = (8.0, 4.0, 2.0)


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
) -> StudyRecord:
    """Write random sets into `folder` and return the record of a study that made them.

    The first trials of a longer study are the trials of a shorter one. With `reports`, every set
    of the front has been examined; `failing` are the places on the front that fail a check.
    """
    name = "demo" if private else "demo-open"
    made = [_trial(folder, k, private=private, shape=shape) for k in range(trials)]
    width = 3 if private else 2
    values = np.array([t.scores.values()[:width] for t in made]).reshape(trials, width)
    spread = np.array([t.scores.errors()[:width] for t in made]).reshape(trials, width)
    front = [k for k in np.argsort(values[:, 0]) if nondominated(values)[k]] if made else []
    rng = np.random.default_rng(1)
    draws = [nondominated(rng.normal(values, spread)) for _ in range(200)]
    if reports:
        made = [_with_report(t) if t.number in front else t for t in made]
    examined = [int(k) for k in front] if reports else []
    baselines = _baselines(reports=reports)
    config = {
        "name": name,
        "seed": 7,
        "data": {"source": "digits"},
        "condense": {"images_per_class": 3, "scalarisation": "stch"},
        "evaluate": {"protocol": "fast", "replicates": 5, "perturbation": 0.1, "attacks": "pgd"},
        "search": {"engine": "sobol", "trials": trials},
        "threat": {"norm": "Linf", "eps": 0.1},
        "privacy": {"epsilons": list(RUNGS) if private else [], "delta": 1e-5},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "ledger.jsonl").write_text('{"event": "begun"}\n')
    return StudyRecord(
        name=name,
        folder=folder,
        config=config,
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


def _curve(item: Trial | Baseline) -> Curve:
    """A straight line through the two errors on test records, at eps 0 and 0.1."""
    low, high = item.report.values()[:2]
    return Curve(
        name=item.name,
        eps=(0.0, 0.05, 0.1),
        errors=tuple(Estimate(mean=low + k * (high - low) / 2, se=0.01) for k in range(3)),
        attacks=("pgd-ce-20", "pgd-margin-20"),
        records=200,
        networks=3,
    )


def _trial(folder: Path, number: int, *, private: bool, shape: tuple[int, ...]) -> Trial:
    rng = np.random.default_rng(100 + number)
    share = (0.0, 1.0)[number] if number < 2 else float(rng.uniform())
    rung = RUNGS[number % 3] if private else None
    cost = 0.0 if rung is None else 0.22 / rung
    error = 0.12 + cost + 0.22 * share**1.6 + abs(rng.normal(0, 0.035))
    robust = 0.38 + 0.8 * cost + 0.34 * (1 - share) ** 1.6 + abs(rng.normal(0, 0.035))
    path = f"sets/trial-{number:03d}.safetensors"
    save_set(fake_set(shape, seed=number), folder / path)
    return Trial(
        number=number,
        kind="anchor" if number < 2 else "search",
        weighting=Weighting.of(
            robust_share=share, privacy=0.2 + 0.2 * (number % 3) if private else 0.0
        ),
        rung=rung,
        scores=_scores(error, robust, math.inf if rung is None else rung, rng),
        losses=(1.0 - 0.5 * (1 - share), 1.2 - 0.5 * share),
        set_path=path,
        seconds=3.5 + number / 8,
    )


def _scores(
    error: float, robust: float, epsilon: float, rng: np.random.Generator | None = None
) -> Scores:
    se = (0.009, 0.014) if rng is None else (0.005 + 0.01 * rng.uniform(), 0.012)
    return Scores(
        error=Estimate(mean=error, se=se[0]),
        robust_error=Estimate(mean=robust, se=se[1]),
        epsilon=epsilon,
    )


def _with_report(trial: Trial) -> Trial:
    error, robust, epsilon = trial.scores.values()
    fields = {**vars(trial), "report": _scores(error + 0.01, robust + 0.015, epsilon)}
    return Trial(**fields)


def _baselines(*, reports: bool) -> tuple[Baseline, ...]:
    rows = {"random": (0.36, 0.83), "herding": (0.30, 0.80), "kmeans": (0.27, 0.77)}
    return tuple(
        Baseline(
            name=name,
            scores=_scores(*pair, math.inf),
            report=_scores(pair[0] + 0.01, pair[1] + 0.01, math.inf) if reports else None,
        )
        for name, pair in rows.items()
    )
