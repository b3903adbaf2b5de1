"""How long studies of many stored trials take: to resume, to read, and to write their report.

PYTHONPATH=.:tests python tests/benchmarks/many_trials.py [TRIALS ...]  (200 and 2000 if left out)

Trials are fake, all else is real: see `tests/fast_trials.py`.
"""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fast_trials import TABLES, fake, run
from ledgers import read_events, write_events

from moc.study.store import read_study
from moc.views.page import write_page

DRAW = """() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(
  performance.now()))))"""
FILTER = """() => {
  const slider = document.querySelector("#limits input"), begun = performance.now();
  slider.value = (Number(slider.min) + Number(slider.max)) / 2;
  slider.dispatchEvent(new Event("input"));
  return new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(
    performance.now() - begun)))); }"""


def timed(what: str, do: Callable[[], object]) -> None:
    """Do something, and say how long it took, on the clock and of a core."""
    start, busy = time.perf_counter(), time.process_time()
    do()
    told(what, time.perf_counter() - start, time.process_time() - busy)


def told(what: str, seconds: float, busy: float = math.nan) -> None:
    """Print a line."""
    own = "" if math.isnan(busy) else f"   ({busy:6.2f} s of a core)"
    print(f"  {what:<50} {seconds:7.2f} s{own}", flush=True)


def browse(page: Path) -> None:
    """Open a report in Chromium, and draw a limit through it, where Playwright is installed."""
    path = shutil.which("chromium")
    driver = importlib.util.find_spec("playwright")
    if path is None or driver is None:
        print("  no Chromium or no Playwright: the page is not opened")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1400, "height": 1000})
        tab.set_default_timeout(120_000)
        tab.goto(page.as_uri())
        tab.wait_for_selector("body[data-ready=true]")
        told("open the page, until all is drawn", tab.evaluate(DRAW) / 1000)
        told("draw anew once a limit has moved", tab.evaluate(FILTER) / 1000)
        browser.close()


def measure(count: int, place: Path) -> None:
    """Measure a study of so many trials."""
    os.environ["MOC_LEDGER"] = str(place / "ledger.jsonl")
    folder, page = place / "study", place / "report.html"
    search = {"trials": count, "batch": max(count // 5, 2), "engine": "sobol"}
    tables = {**TABLES, "search": search}
    print(f"{count} trials")
    timed("the whole study, of fake trials", lambda: run(folder, tables))
    events = read_events(folder)
    scored = [k for k, event in enumerate(events) if event["event"] == "scored"]
    write_events(folder, events[: scored[-1]])
    timed("resume, with the last trial to score", lambda: run(folder, tables))
    timed("read: front, probabilities, hypervolume", lambda: read_study(folder))
    study = read_study(folder)
    timed("write the report", lambda: write_page(study, page))
    print(f"  {'size of the report':<50} {page.stat().st_size / 1e6:7.1f} MB")
    browse(page)


def main(counts: list[int]) -> None:
    """Measure studies of so many trials."""
    torch.set_num_threads(1)
    fake(pytest.MonkeyPatch(), draws=1000)  # as every study
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            measure(count, Path(place))


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [200, 2000])
