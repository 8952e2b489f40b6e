"""A headless Chromium of the system, and what it says about a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LAPTOP, PHONE = (1366, 768), (390, 844)
"""Sizes of the windows in which pages are looked at [pixels]."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Tests run in containers, whose shared memory may be small.
    "--disable-dev-shm-usage",
)

WIDER = """() => {
    const limit = document.documentElement.clientWidth, found = [];
    if (Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= limit + 1) return found;
    const scrolls = item => ['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(item).overflowX);
    for (const item of document.body.querySelectorAll('*')) {
        const box = item.getBoundingClientRect();
        if (box.width === 0 || box.left >= limit || scrolls(item)) continue;
        if (Math.max(box.right, box.left + item.scrollWidth) <= limit + 1) continue;
        let up = item.parentElement;
        while (up && up !== document.body && !scrolls(up)) up = up.parentElement;
        if (up && up !== document.body) continue;
        found.push(`${item.tagName}.${item.className} ${item.textContent.trim().slice(0, 40)}`);
    }
    return found.length ? found.slice(-3) : ['the page is wider than the window'];
}"""
"""Elements that make a page scroll sideways; those in a box that scrolls by itself do not."""

BROKEN = """() => [...document.images].filter(image => image.complete && image.naturalWidth === 0 && image.src)
    .map(image => image.getAttribute('src').slice(0, 80))"""
"""Images that did not load."""


def find_chromium() -> str | None:
    """Find the browser of the system, or the one that the variable CHROMIUM names."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in BROWSERS if (path := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator[Any]:
    """Open a headless browser; skip the test, with the reason, where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, the extra `browser`, is not installed")
    path = find_chromium()
    if path is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}, nor the variable CHROMIUM")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """Record of an open page: errors on its console, and requests that leave the machine."""

    page: Any
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._judge(request.url))

    def _judge(self, url: str) -> None:
        if url.partition(":")[0] not in ("file", "data", "blob", "about"):
            self.foreign.append(url)

    def open(self, path: Path, size: tuple[int, int] = LAPTOP, anchor: str = "") -> list[str]:
        """Open a file in a window of a size; return all complaints about it."""
        self.errors.clear()
        self.foreign.clear()
        self.resize(size)
        self.page.goto(path.resolve().as_uri() + anchor, wait_until="load")
        return self.complain()

    def resize(self, size: tuple[int, int]) -> None:
        """Give the window a size."""
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    def complain(self) -> list[str]:
        """Collect the complaints about the page as it is now."""
        wider = [f"wider than the window: {item}" for item in self.page.evaluate(WIDER)]
        broken = [f"image does not load: {item}" for item in self.page.evaluate(BROKEN)]
        foreign = [f"leaves the machine: {url}" for url in self.foreign]
        return [*(f"console: {error}" for error in self.errors), *foreign, *broken, *wider]
