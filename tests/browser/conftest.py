"""A real browser, which is watched: what it logs as an error, and whom it asks for anything."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
HERE = ("", "127.0.0.1")
"""Hosts of files, of data in the page, and of a server on this machine."""


@dataclass
class Watched:
    """A page, the errors in its console, and every address that it asked for."""

    page: object
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[str]:
        """Requests that were meant for another machine."""
        return [url for url in self.requests if (urlsplit(url).hostname or "") not in HERE]


@pytest.fixture(scope="session")
def chromium():
    """Debian's Chromium, or another one that is installed, driven by Playwright."""
    driver = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: pip install -e '.[browser]'"
    )
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs chromium on the PATH: apt-get install chromium")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def unchecked(chromium):
    """A watched page, whatever it does."""
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(60_000)
    watched = Watched(page)

    def log(message):
        if message.type == "error":
            watched.errors.append(f"{message.text} {message.location.get('url', '')}")

    page.on("console", log)
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on("request", lambda request: watched.requests.append(request.url))
    yield watched
    page.close()


@pytest.fixture
def watched(unchecked):
    """A watched page that, in the end, has logged no error and asked no other machine."""
    yield unchecked
    assert unchecked.requests, "no page was opened"
    assert unchecked.errors == []
    assert unchecked.left == []
