"""Pictures of a study for the README, MLflow and the page: drawn off screen, no global state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from typing_extensions import override

from moc.evaluate.scores import Estimate
from moc.objectives.base import Objective
from moc.study.expected import expected
from moc.study.records import Baseline, StudyRecord, Trial
from moc.views.base import View
from moc.views.colours import BASELINE, GREY, INK, rung_colours
from moc.views.words import OPEN, budget_words, rung_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = "osD^vPX"


def front_figure(study: StudyRecord) -> Figure:
    """Draw the first two measured objectives of all trials against each other, by epsilon.

    Trials of the front are large, with bars of one standard error; lines are the expected scores
    along the curve of a rung. Dominated trials are small and pale. Baselines are labelled crosses.
    All values are those measured on validation records, the only ones that every trial has.
    """
    figure, axes = _canvas(width=8.4, height=5.2)
    x, y = axes_of(study)
    front, words = set(study.front), rung_words(study)
    colours = rung_colours(list(words))
    rest = [trial for trial in study.trials if trial.number not in front]
    for trial in rest:
        mark = _MARKS[trial.rung_index % len(_MARKS)]
        place = trial.scores[x].mean, trial.scores[y].mean
        axes.plot(*place, mark, ms=5, mfc="none", mec=GREY, mew=1.1, zorder=2)
    for k, rung in enumerate(words):
        chosen = [study.trial(n) for n in study.front if study.trial(n).rung_index == rung]
        if chosen:
            label = f"front, {_epsilon_label(words[rung])}"
            _draw_rung(axes, (x, y), chosen, colours[rung], _MARKS[k % len(_MARKS)], label)
    _draw_curves(axes, (x, y), study, colours)
    if rest:
        axes.plot([], [], "o", ms=5, mfc="none", mec=GREY, mew=1.1, label="dominated")
    _draw_baselines(axes, (x, y), study)
    _label_axes(axes, study.objectives[x], study.objectives[y])
    axes.margins(0.07)
    count = f"{len(study.front)} of {len(study.trials)} synthetic sets are on the front"
    _title(axes, f"{study.name}: {count}", f"Bars: ± 1 standard error; {budget_words(study)}")
    _legend(axes)
    return figure


def recipes_figure(study: StudyRecord) -> Figure:
    """Draw the sets of every recipe in a colour of their own, joined along its curve."""
    from matplotlib import colormaps

    figure, axes = _canvas(width=8.4, height=5.2)
    x, y = axes_of(study)
    recipes = trials_by_recipe(study)
    colours = colormaps["tab20"](range(20))
    for k, (number, trials) in enumerate(recipes.items()):
        colour, mark = colours[2 * k % 20 + (k // 10) % 2], _MARKS[k % len(_MARKS)]
        along = sorted(trials, key=lambda trial: (trial.rung_index, *trial.weights.values()))
        values = [[trial.scores[name].mean for trial in along] for name in (x, y)]
        axes.plot(*values, "-", lw=1, alpha=0.4, color=colour)
        axes.plot(*values, mark, ms=6, color=colour, label=short_recipe(study, number))
    _draw_baselines(axes, (x, y), study)
    _label_axes(axes, study.objectives[x], study.objectives[y])
    axes.margins(0.07)
    _title(axes, f"{study.name}: {len(recipes)} recipes", "Scores on validation records")
    _legend(axes)
    return figure


def trials_by_recipe(study: StudyRecord) -> dict[int, list[Trial]]:
    """Finished trials by the number of their recipe."""
    found: dict[int, list[Trial]] = {}
    for trial in study.trials:
        found.setdefault(study.space.recipe(trial.point), []).append(trial)
    return dict(sorted(found.items()))


def short_recipe(study: StudyRecord, number: int) -> str:
    """What was chosen; of a single choice its value alone."""
    words = study.recipe_words(number)
    return words.partition(" = ")[2] if words.count(" = ") == 1 else words


def axes_of(study: StudyRecord) -> tuple[str, str]:
    """The two objectives that a picture shows: the first two measured ones."""
    names = [*study.measured, *study.objectives]
    return names[0], names[1]


def _label_axes(axes: Axes, x: Objective, y: Objective) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.set_xlabel(f"← better      {x.words} on held-out records")
    axes.set_ylabel(f"← better      {y.words} on held-out records")
    for axis, objective in ((axes.xaxis, x), (axes.yaxis, y)):
        if objective.unit == "share":
            axis.set_major_formatter(PercentFormatter(1.0))


def hypervolume_figure(study: StudyRecord) -> Figure:
    """Draw the hypervolume after each finished trial; higher is better."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _canvas(width=6.4, height=3.6)
    trials = range(1, len(study.hypervolume) + 1)
    colour = rung_colours([0])[0]
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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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


def _bars(estimates: Sequence[Estimate]) -> list[float]:
    """Lengths of error bars; NaN, which draws none, where the standard error is not known."""
    return [value.se if math.isfinite(value.se) else math.nan for value in estimates]


def _draw_rung(
    axes: Axes, names: tuple[str, str], trials: Sequence[Trial], colour: str, mark: str, label: str
) -> None:
    x, y = _estimates(trials, names)
    means = [value.mean for value in x], [value.mean for value in y]
    axes.errorbar(
        *means,
        xerr=_bars(x),
        yerr=_bars(y),
        fmt=mark,
        ms=8,
        color=colour,
        mec="white",
        mew=1.0,
        elinewidth=1.1,
        label=label,
        zorder=4,
    )


def _draw_curves(
    axes: Axes, names: tuple[str, str], study: StudyRecord, colours: Mapping[int, str]
) -> None:
    """Expected scores along every curve of two losses; there is no line through more."""
    if not study.on_curves or len(study.weighed) != 2 or not study.trials:
        return
    for curve in expected(study):
        colour = colours[curve.rung.index if curve.rung else 0]
        width = 1.6 if curve.recipe == 0 else 1.0
        axes.plot(*map(curve.mean, names), color=colour, lw=width, alpha=0.5, zorder=3)


def _draw_baselines(axes: Axes, names: tuple[str, str], study: StudyRecord) -> None:
    shown = [one for one in study.baselines if all(name in one.scores for name in names)]
    if not shown:
        return
    x, y = _estimates(shown, names)
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
    for baseline, left, up in zip(shown, x, y, strict=True):
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


def _estimates(
    items: Sequence[Trial | Baseline], names: tuple[str, str]
) -> tuple[list[Estimate], list[Estimate]]:
    x, y = names
    return [item.scores[x] for item in items], [item.scores[y] for item in items]


class Figures(View):
    """Pictures of the front and of the search's progress in the study folder."""

    kind: Literal["figures"] = "figures"

    @override
    def write(self, study: StudyRecord) -> str:
        front_figure(study).savefig(study.folder / "front.png", dpi=150)
        hypervolume_figure(study).savefig(study.folder / "hypervolume.png", dpi=150)
        if len(trials_by_recipe(study)) > 1:
            recipes_figure(study).savefig(study.folder / "recipes.png", dpi=150)
        return ""
