"""The report in a browser: all of it is there, it reacts to mouse and keyboard, and stays alone."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from fake_study import MORE, fake_study
from PIL import Image

from moc.data.storage import load_set
from moc.views.contact_sheet import contact_sheet
from moc.views.page import write_page

pytestmark = pytest.mark.browser

POINTS = """() => [...document.querySelectorAll("#scatter path.point")].map((point) => {
  const trace = point.parentNode.parentNode.__data__[0].trace, box = point.getBoundingClientRect();
  return { name: (trace.customdata ?? [])[point.__data__.i], ring: trace.hoverinfo === "skip",
    opacity: Number(point.style.opacity), x: box.x + box.width / 2, y: box.y + box.height / 2 };
}).filter((point) => !point.ring)"""
RING = """(name) => document.getElementById("scatter").data.some(
  (trace) => trace.hoverinfo === "skip" && trace.customdata[0] === name)"""


@pytest.fixture
def opened(watched):
    """Opens the report of a study."""

    def open_(study, folder):
        watched.page.goto(write_page(study, folder / "report.html").as_uri())
        watched.page.wait_for_selector("body[data-ready=true]")
        return watched.page

    return open_


@pytest.fixture
def study(tmp_path):
    return fake_study(tmp_path, trials=24)


@pytest.fixture
def page(opened, study, tmp_path):
    return opened(study, tmp_path)


def points(page):
    """Every point of the scatter plot by the name of its set."""
    return {point["name"]: point for point in page.evaluate(POINTS)}


def move(page, x, y, until):
    """Move the mouse to a place, as a hand does that is never quite at rest."""
    for k in range(200):
        page.mouse.move(x + k % 2, y)
        page.wait_for_timeout(50)
        if until():
            return
    pytest.fail(f"nothing happens at {x}, {y}: {page.inner_text('#detail-name')} is shown")


def rows(page):
    return [text.split("trial-")[1][:3] for text in page.locator("tr.trial").all_inner_texts()]


def names(trials):
    return {trial.name for trial in trials}


def test_all_trials_of_a_real_study_are_there(opened, tiny_private, tmp_path):
    page = opened(tiny_private, tmp_path)
    shown = points(page)
    assert shown.keys() == names(tiny_private.trials) | {b.name for b in tiny_private.baselines}
    assert {f"trial-{row}" for row in rows(page)} == {
        tiny_private.trial(number).name for number in tiny_private.front
    }
    assert {point["opacity"] for point in shown.values()} == {1}


@pytest.mark.parametrize(("name", "most"), [("robust_error", 50), ("error", 22)])
def test_a_slider_greys_out_what_is_beyond_it_and_nothing_else(page, study, name, most):
    page.locator(f"#limit-{name}").fill(str(most))
    kept = {t.name for t in study.trials if 100 * t.scores[name].mean <= most}
    assert 0 < len(kept) < len(study.trials)
    grey = {k for k, p in points(page).items() if p["opacity"] < 0.5 and k.startswith("trial")}
    assert grey == names(study.trials) - kept
    front = names(study.trial(number) for number in study.front)
    assert {f"trial-{row}" for row in rows(page)} == front & kept
    assert f"{len(front & kept)} of {len(front)} sets remain" in page.inner_text("#count")
    page.click("#reset")
    assert {p["opacity"] for p in points(page).values()} == {1}


def test_a_limit_of_epsilon_greys_out_larger_ones(page, study):
    page.select_option("#limit-epsilon", label="4")
    grey = {k for k, p in points(page).items() if p["opacity"] < 0.5 and k.startswith("trial")}
    assert grey == names(t for t in study.trials if t.epsilon > 4.5)


def test_a_click_on_a_point_shows_its_images(page, study, tmp_path):
    there = [p for name, p in points(page).items() if name.startswith("trial")]
    gap = {
        p["name"]: min(np.hypot(p["x"] - q["x"], p["y"] - q["y"]) for q in there if q is not p)
        for p in there
    }
    apart = sorted(there, key=lambda p: -gap[p["name"]])[:4]
    before = points(page)
    for name, point in ((point["name"], point) for point in apart):
        move(page, point["x"], point["y"], lambda n=name: page.inner_text("#detail-name") == n)
        assert points(page)[name]["y"] == before[name]["y"], "it moved from under the mouse"
        page.wait_for_timeout(400)  # else plotly takes two clicks for a double-click
        page.mouse.down()
        page.mouse.up()
        page.wait_for_function(RING, arg=name)  # it is kept
        page.mouse.move(2, 2)
        assert page.inner_text("#detail-name") == name
        trial = next(t for t in study.trials if t.name == name)
        source = page.get_attribute("#sheet", "src")
        sheet = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))
        expected = contact_sheet(load_set(tmp_path / trial.set_path))
        np.testing.assert_array_equal(np.asarray(sheet), np.asarray(expected))
        assert page.evaluate("document.getElementById('sheet').naturalWidth") == expected.width


def test_a_set_without_a_picture_says_where_it_is(opened, study, tmp_path, monkeypatch):
    monkeypatch.setattr("moc.views.page._PICTURED", 0)
    page = opened(study, tmp_path)
    assert not page.is_visible("#sheet")
    assert f"sets/{page.inner_text('#detail-name')}.safetensors" in page.inner_text("#detail-words")


def test_everything_can_be_done_with_the_keyboard(page, study):
    page.focus("#limit-error")
    before = page.inner_text("#count")
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    assert page.inner_text("#count") != before
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "limit-robust_error"
    page.focus("#reset")
    page.keyboard.press("Enter")
    assert page.inner_text("#count") == before

    page.locator("#table th").first.focus()
    page.keyboard.press("Enter")
    assert rows(page) == sorted(rows(page))
    page.keyboard.press("Enter")  # the heading kept the focus
    assert rows(page) == sorted(rows(page), reverse=True)
    for _ in range(page.locator("#table th").count()):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    second = f"trial-{rows(page)[1]}"
    assert page.inner_text("#detail-name") == second
    assert second in page.inner_text("tr[aria-current=true]")
    assert second in page.evaluate("document.activeElement.innerText")


@pytest.mark.parametrize("more", [(), MORE])
def test_it_shows_other_records_and_objectives(opened, tmp_path, more):
    study = fake_study(tmp_path, trials=24, more=more)
    page = opened(study, tmp_path)
    front = [study.trial(number) for number in study.front]
    page.select_option("#measured", "test")
    first = min(front, key=lambda t: t.report["error"].mean)
    assert f"{100 * first.report['error'].mean:.1f}" in page.locator("tr.trial").first.inner_text()
    page.select_option("#measured", "validation")
    assert page.locator("#axes").is_visible() == bool(more)
    if more:
        page.select_option("#axis-y", "calibration_error")
        assert "calibration" in page.text_content("#scatter .ytitle")
    assert page.locator("#curves .scatterlayer .trace").count() == len(front) + len(study.baselines)
    assert "passed" in page.locator("tr.trial").first.inner_text()


def test_the_dial_moves_along_the_curve_by_the_keyboard_too(opened, tiny_private, tmp_path):
    page = opened(tiny_private, tmp_path)
    sheet = "document.getElementById('dial-sheet').toDataURL()"
    before = page.evaluate(sheet)
    page.locator("#dial").fill("15")
    page.locator("#dial").press("ArrowRight")
    assert page.evaluate(sheet) != before
    page.select_option("#dial-rung", "1")
    assert page.inner_text("#dial-command") == "moc choose tiny-private --at 0.25 --rung 2"
    assert "clean error, expected" in page.inner_text("#dial-scores")
    assert page.locator("#dial-plot .scatterlayer .trace").count() == 6


def test_the_watch_sees_what_it_watches_for(unchecked, study, tmp_path):
    page = unchecked.page
    page.goto(write_page(study, tmp_path / "report.html").as_uri())
    page.evaluate("fetch('http://192.0.2.1/font.woff').catch(() => undefined)")
    page.evaluate("setTimeout(() => { throw new Error('planted'); })")
    page.wait_for_timeout(200)
    assert unchecked.left == ["http://192.0.2.1/font.woff"]
    assert any("planted" in error for error in unchecked.errors)
