"""Pictures of a study for the README, MLflow and the page: drawn off screen, no global state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from moc.report.palette import BASELINE, GREY, INK, rung_colours, rungs_of
from moc.report.words import OPEN, budget_words, rung_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from moc.evaluate.scores import Estimate
    from moc.study.records import StudyRecord, Trial

_MARKS = "osD^vPX"


def front_figure(study: StudyRecord) -> Figure:
    """Draw robust error against clean error of all trials, coloured by epsilon.

    Trials of the front are large, with bars of one standard error, and joined within a rung;
    dominated ones are small and pale. Baselines are labelled crosses. All values are those
    measured on validation records, the only ones that every trial has.
    """
    figure, axes = _canvas(width=8.4, height=5.2)
    front = set(study.front)
    rungs = rungs_of(study)
    colours, words = rung_colours(rungs), rung_words(study)
    rest = [trial for trial in study.trials if trial.number not in front]
    for trial in rest:
        mark = _MARKS[rungs.index(trial.rung) % len(_MARKS)]
        axes.plot(*_place(trial), mark, ms=5, mfc="none", mec=GREY, mew=1.1, zorder=2)
    for k, rung in enumerate(rungs):
        chosen = [study.trial(n) for n in study.front if study.trial(n).rung == rung]
        if chosen:
            label = f"front, {_epsilon_label(words[rung])}"
            _draw_rung(axes, chosen, colours[rung], _MARKS[k % len(_MARKS)], label)
    if rest:
        axes.plot([], [], "o", ms=5, mfc="none", mec=GREY, mew=1.1, label="dominated")
    _draw_baselines(axes, study)
    axes.set_xlabel("← better      clean error on held-out records")
    axes.set_ylabel("← better      error under attack on held-out records")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.margins(0.07)
    count = f"{len(study.front)} of {len(study.trials)} synthetic sets are on the front"
    _title(axes, f"{study.name}: {count}", f"Bars: ± 1 standard error; {budget_words(study)}")
    _legend(axes)
    return figure


def hypervolume_figure(study: StudyRecord) -> Figure:
    """Draw the hypervolume after each finished trial; higher is better."""
    figure, axes = _canvas(width=6.4, height=3.6)
    trials = range(1, len(study.hypervolume) + 1)
    colour = rung_colours([None])[None]
    axes.step(trials, study.hypervolume, where="post", color=colour, lw=2)
    axes.fill_between(trials, study.hypervolume, step="post", color=colour, alpha=0.12, linewidth=0)
    if study.hypervolume:
        last = study.hypervolume[-1]
        axes.plot(len(study.hypervolume), last, "o", color=colour, ms=6)
        axes.annotate(
            f"{last:.3f}",
            (len(study.hypervolume), last),
            xytext=(0, 8),
            textcoords="offset points",
            ha="right",
            color=INK,
        )
    axes.set_xlabel("finished trials")
    axes.set_ylabel("hypervolume      better →")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.margins(y=0.15)
    _title(axes, f"{study.name}: progress of the search", "Share of the fixed reference box")
    return figure


def _canvas(*, width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=160, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(color=GREY, labelcolor=INK)
    axes.grid(color="#e9ecef", lw=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _title(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(f"{title}\n", loc="left", fontsize=12.5, fontweight="bold", color=INK)
    axes.text(0, 1.02, subtitle, transform=axes.transAxes, fontsize=9.5, color="#5b6770")


def _legend(axes: Axes) -> None:
    entries = zip(*axes.get_legend_handles_labels(), strict=True)
    entries = sorted(entries, key=lambda entry: not entry[1].startswith("front"))
    if entries:
        handles, labels = zip(*entries, strict=True)
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
        axes.legend(handles, labels, frameon=False, fontsize=9.5, **place)


def _epsilon_label(words: str) -> str:
    return f"{OPEN} (no privacy)" if words == OPEN else f"ε = {words}"


def _place(trial: Trial) -> tuple[float, float]:
    return trial.scores.error.mean, trial.scores.robust_error.mean


def _bars(estimates: Sequence[Estimate]) -> list[float]:
    """Lengths of error bars; NaN, which draws none, where the standard error is not known."""
    return [value.se if math.isfinite(value.se) else math.nan for value in estimates]


def _draw_rung(axes: Axes, trials: Sequence[Trial], colour: str, mark: str, label: str) -> None:
    x, y = zip(*map(_place, trials), strict=True)
    axes.plot(x, y, color=colour, lw=1.2, alpha=0.35, zorder=3)
    axes.errorbar(
        x,
        y,
        xerr=_bars([trial.scores.error for trial in trials]),
        yerr=_bars([trial.scores.robust_error for trial in trials]),
        fmt=mark,
        ms=8,
        color=colour,
        mec="white",
        mew=1.0,
        elinewidth=1.1,
        label=label,
        zorder=4,
    )


def _draw_baselines(axes: Axes, study: StudyRecord) -> None:
    if not study.baselines:
        return
    x = [baseline.scores.error for baseline in study.baselines]
    y = [baseline.scores.robust_error for baseline in study.baselines]
    axes.errorbar(
        [value.mean for value in x],
        [value.mean for value in y],
        xerr=_bars(x),
        yerr=_bars(y),
        fmt="x",
        color=BASELINE,
        ms=8,
        mew=2,
        elinewidth=0.8,
        label="real records, same size",
        zorder=5,
    )
    middle = sum(axes.get_xlim()) / 2
    for baseline, left, up in zip(study.baselines, x, y, strict=True):
        beyond = left.mean > middle
        axes.annotate(
            baseline.name,
            (left.mean, up.mean),
            xytext=(-7 if beyond else 7, 5),
            textcoords="offset points",
            ha="right" if beyond else "left",
            fontsize=9,
            color=BASELINE,
        )
