"""`moc ui`: MLflow's own server, opened on the comparison of the trials of a real study."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import moc
from moc.data.storage import load_set
from moc.views.contact_sheet import contact_sheet

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

IMAGES = "() => [...document.images].map((i) => i.src).filter((s) => s.includes('run_uuid'))"
OWN = ("/mlflow/users/current", "ResizeObserver loop")
"""Errors of MLflow's page itself, which asks who is there and draws again while it draws."""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(address, server, log):
    for _ in range(240):
        with suppress(OSError):
            return urllib.request.urlopen(address, timeout=10).close()
        assert server.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(log.read_text())


def gap(a, b):
    return np.abs(np.asarray(a, float) - np.asarray(b, float)).mean()


@pytest.fixture(scope="module")
def link(tiny_open, tmp_path_factory):
    """The address that `moc ui` prints, while it serves."""
    home = tmp_path_factory.mktemp("ui")
    shutil.copytree(tiny_open.folder, home / "runs" / "tiny")
    port, log = free_port(), home / "log"
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    with log.open("w") as errors:
        server = subprocess.Popen(
            [sys.executable, "-m", "moc.cli", "ui", "tiny", "--port", str(port)],
            cwd=home,
            env={**environment, "PYTHONPATH": str(Path(moc.__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        words = server.stdout.readline()
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield re.search(r"http://\S+", words)[0]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.fixture
def page(watched, link, tiny_open):
    """The page at that address, with all that it loads."""
    page = watched.page
    page.goto(link)
    page.get_by_text(f"{len(tiny_open.trials)} matching runs").wait_for()
    page.wait_for_function(f"() => ({IMAGES})().length >= {len(tiny_open.trials)}")
    yield page
    watched.errors[:] = [e for e in watched.errors if not any(one in e for one in OWN)]


def test_it_opens_on_all_trials_and_their_charts(page, tiny_open):
    for trial in tiny_open.trials:
        assert page.get_by_role("link", name=trial.name, exact=True).count() >= 1
    for title in ("Front: lower is better", "Parallel Coordinates", "error vs. robust_error"):
        page.get_by_text(title).first.wait_for()
    words = page.inner_text("body")
    assert not [one.name for one in tiny_open.baselines if one.name in words]


def test_every_trial_is_shown_by_its_own_images(page, tiny_open):
    from mlflow import MlflowClient

    address = page.url.split("/#")[0]
    client = MlflowClient(address)
    sheets = {
        trial.name: contact_sheet(load_set(tiny_open.folder / trial.set_path)).convert("RGB")
        for trial in tiny_open.trials
    }
    seen = set()
    for source in page.evaluate(IMAGES):
        assert source.startswith(address)
        body = page.context.request.get(source).body()
        small = Image.open(io.BytesIO(body)).convert("RGB")
        name = client.get_run(source.split("run_uuid=")[1]).info.run_name
        gaps = {name: gap(small, sheet.resize(small.size)) for name, sheet in sheets.items()}
        assert min(gaps, key=gaps.__getitem__) == name
        seen.add(name)
    assert seen == sheets.keys()


def test_a_click_leads_to_the_scores_of_a_trial(page, tiny_open):
    trial = tiny_open.trials[3]
    page.get_by_role("link", name=trial.name, exact=True).first.click()
    error = 100 * trial.scores["error"].mean
    page.get_by_text(f"Validation: clean error {error:.1f}").first.wait_for()
    page.get_by_text("All metrics: lower is better").first.wait_for()
