"""What the pictures show, read back from their artists."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import replace

import pytest
from fake_study import MORE, fake_study
from PIL import Image

from moc.evaluate.scores import Estimate
from moc.views.colours import rung_colours
from moc.views.figures import front_figure, hypervolume_figure


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_each_rung_of_the_front_has_a_legend_entry_and_its_trials(tmp_path):
    study = fake_study(tmp_path, trials=24)
    figure = front_figure(study)
    assert legend(figure) == [
        "front, ε = 8",
        "front, ε = 4",
        "front, ε = 2",
        "dominated",
        "real records, same size",
    ]
    drawn = {
        (round(float(x), 9), round(float(y), 9))
        for container in figure.axes[0].containers
        for x, y in zip(*container[0].get_data(), strict=True)
    }
    wanted = [study.trial(n).scores for n in study.front] + [b.scores for b in study.baselines]
    assert drawn == {tuple(round(s[k].mean, 9) for k in ("error", "robust_error")) for s in wanted}


def test_error_bars_are_one_standard_error_each_way(tmp_path):
    study = fake_study(tmp_path)
    axes = front_figure(study).axes[0]
    lengths = sorted(
        seg[1][0] - seg[0][0]
        for container in axes.containers[:-1]
        for seg in container[2][0].get_segments()
    )
    expected = sorted(2 * study.trial(n).scores["error"].se for n in study.front)
    assert lengths == pytest.approx(expected)


def test_baselines_are_named(tmp_path):
    study = fake_study(tmp_path)
    texts = {text.get_text() for text in front_figure(study).axes[0].texts}
    assert {"random", "herding", "kmeans"} <= texts


def test_an_open_study_has_one_colour_and_no_epsilon(tmp_path):
    figure = front_figure(fake_study(tmp_path, private=False))
    assert legend(figure)[0] == "front, open (no privacy)"
    assert sum(label.startswith("front") for label in legend(figure)) == 1


def test_the_legend_says_what_is_charged_not_what_was_asked_for(tmp_path):
    study = fake_study(tmp_path)
    dearer = tuple(replace(t, epsilon=t.rung.epsilon + 0.31) for t in study.trials)
    assert legend(front_figure(replace(study, trials=dearer)))[:3] == [
        "front, ε = 8.31",
        "front, ε = 4.31",
        "front, ε = 2.31",
    ]


def test_the_hypervolume_ends_at_its_last_value(tmp_path):
    study = fake_study(tmp_path)
    (step, _) = hypervolume_figure(study).axes[0].lines
    assert list(step.get_ydata()) == list(study.hypervolume)


@pytest.mark.parametrize("figure", [front_figure, hypervolume_figure])
@pytest.mark.parametrize("trials", [0, 1, 14])
def test_pictures_can_be_written_at_any_moment_of_a_study(tmp_path, figure, trials):
    study = fake_study(tmp_path, trials=trials, reports=False, complete=False)
    if trials == 0:
        study = replace(study, baselines=())
    stream = io.BytesIO()
    figure(study).savefig(stream)
    assert Image.open(stream).width > 800


@pytest.mark.parametrize("se", [math.nan, math.inf])
def test_one_replicate_has_no_bar(tmp_path, se):
    study = fake_study(tmp_path, trials=1)
    scores = {**study.trials[0].scores, "error": Estimate(mean=0.2, se=se)}
    figure = front_figure(replace(study, trials=(replace(study.trials[0], scores=scores),)))
    figure.savefig(io.BytesIO())
    assert figure.axes[0].get_xlim()[1] < 1


def test_no_global_figure_is_left_behind(tmp_path):
    front_figure(fake_study(tmp_path))
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize("count", range(1, 8))
def test_colours_differ_between_rungs(count):
    assert len(set(rung_colours(range(count)).values())) == count


def test_the_first_two_measured_objectives_are_the_axes(tmp_path):
    study = fake_study(tmp_path, more=MORE)
    axes = front_figure(study).axes[0]
    assert "clean error" in axes.get_xlabel()
    assert "robust error" in axes.get_ylabel()
    last = ("stored_bytes", "worst_class_error")
    other = replace(study, objectives={name: study.objectives[name] for name in last})
    axes = front_figure(other).axes[0]
    assert "worst-class error" in axes.get_xlabel()
    assert "stored size" in axes.get_ylabel()
