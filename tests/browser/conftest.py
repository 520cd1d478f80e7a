"""A real Chromium without a window, one for all tests, or the reason why there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    with driver.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium) -> Iterator[Callable]:
    """``visit(file, width=..., dark=...)`` -> page; its console must stay empty, no network be asked."""
    contexts, wrong = [], []

    def open_page(file, width=1280, height=900, dark=False, address=""):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", has_touch=width < 600
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url))
        page.goto(file.as_uri() + address)
        page.wait_for_selector("html[data-ready]", state="attached", timeout=10_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
