"""Debian's Chromium, for tests in a browser and for the documentation's pictures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect, sync_playwright

_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)

#: Seconds until a page must show what it is asked for.
PATIENCE = 30

expect.set_options(timeout=PATIENCE * 1000)


def executable() -> str | None:
    """Where the browser is, if it is installed."""
    return shutil.which("chromium")


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a headless browser, and end it."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable(), args=_FLAGS.split())
        try:
            yield started
        finally:
            started.close()


def open_page(browser: Browser, *, width: int = 1280, height: int = 800, dark: bool = False) -> Page:
    """Open a page that trusts the emulator's certificate."""
    context = browser.new_context(
        ignore_https_errors=True,
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE * 1000)
    return context.new_page()
