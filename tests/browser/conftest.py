"""A real browser for the pages: Chromium under chromedriver, with real keys, clicks and drags.

One browser serves the tests of a file. Where Chromium or its driver is missing, they are skipped with that reason.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.support.ui import WebDriverWait

from harness.report.build import compose, content_of
from harness.report.pages import html

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "hostile"))  # the payloads are there

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
# Before any script of a page: every move of what had been drawn, and everything that the page's policy stopped.
WATCH = """
window.shifts = []; window.stopped = [];
new PerformanceObserver((list) => { for (const one of list.getEntries()) window.shifts.push(one.value); })
  .observe({ type: "layout-shift", buffered: true });
document.addEventListener("securitypolicyviolation", (event) => window.stopped.push(event.effectiveDirective));
"""
ROWS = """
return [...document.querySelectorAll(arguments[0] + " > tr")].map((row) => [...row.cells].map((cell) =>
  [...cell.childNodes].filter((one) => one.localName !== "small").map((one) => one.textContent).join("")));
"""


class Browser:
    """What a reader does and sees; every page that was opened is told of its console and its requests."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        driver.execute_cdp_cmd("Page.enable", {})
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})

    def open(self, file: Path, fragment: str = "", *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file from disk, in a window of so many CSS pixels."""
        self.driver.get("about:blank")
        self.told(), self.requests()
        self.look(width, height, dark)
        self.driver.get(file.resolve().as_uri() + fragment)

    def look(self, width: int, height: int, dark: bool) -> None:
        phone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}  # no click waits for a page to glide to its place
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})

    def find(self, css: str) -> Any:
        return self.driver.find_element("css selector", css)

    def run(self, script: str, *given: Any) -> Any:
        return self.driver.execute_script(script, *given)

    def press(self, *keys: str) -> None:
        """Keys to whatever has the focus."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def rows(self, css: str) -> list[list[str]]:
        """The text of every cell of a table's body, without the smaller notes."""
        found: list[list[str]] = self.run(ROWS, css)
        return found

    def until(self, told: Callable[[], Any], what: str) -> Any:
        """Wait for something to be so."""
        return WebDriverWait(self.driver, 20, 0.05, [WebDriverException]).until(lambda _: told(), what)

    def drawn(self) -> None:
        """Wait until every picture of the page is there."""
        waiting = "return [...document.querySelectorAll('.chart')].every((one) => one.querySelector('svg, canvas'))"
        self.until(lambda: self.run(waiting), "every picture is drawn")

    def told(self) -> list[str]:
        """What was said on the console since the last question."""
        return [str(one["message"]) for one in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last question, but for what the page's policy stopped."""
        events = [json.loads(one["message"])["message"] for one in self.driver.get_log("performance")]
        asked = {one["params"]["requestId"]: one["params"]["request"]["url"] for one in events
                 if one["method"] == "Network.requestWillBeSent"}  # fmt: skip
        failed = [one["params"] for one in events if one["method"] == "Network.loadingFailed"]
        stopped = {one["requestId"] for one in failed if one.get("blockedReason") == "csp"}
        return [str(address) for number, address in asked.items() if number not in stopped]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for each file, gone before other tests look at what processes there are and what they hold."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium with chromedriver on this machine (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield Browser(driver)
    finally:
        with suppress(OSError):
            driver.quit()


@pytest.fixture
def browser(session: Browser) -> Iterator[Browser]:
    """The browser; a test fails if its last page complained on the console or asked for anything but files."""
    yield session
    complaints = session.told()
    assert not complaints, complaints[:3]
    elsewhere = [one for one in session.requests() if not one.startswith(("file:", "data:", "about:", "blob:"))]
    assert not elsewhere, elsewhere


@pytest.fixture(scope="session")
def results() -> Path:
    return ROOT / "results"


@pytest.fixture(scope="session")
def reports() -> Path:
    return ROOT / "reports"


@pytest.fixture(scope="session")
def content(results: Path) -> Any:
    return content_of(results, "quick")


@pytest.fixture(scope="session")
def page(content: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a committed suite, as it is written now."""
    file = tmp_path_factory.mktemp("page") / "index.html"
    file.write_text(html(compose(content)), encoding="utf-8")
    return file
