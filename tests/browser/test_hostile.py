"""The pages in a real browser: every payload is on them, nothing of it runs, and the pages' own scripts do."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from payloads import EVERY
from test_escaping import content as hostile_content

from harness.report.build import compose
from harness.report.document import Document, Explorer, Section
from harness.report.pages import html

# Clicks and hovers on whatever could carry a handler; says then what kinds of elements there are.
PROBE = """
const every = [...document.querySelectorAll("*")];
for (const one of document.querySelectorAll("details")) one.open = true;
for (const one of document.querySelectorAll("main *, svg *")) {
  for (const kind of ["mouseover", "mouseenter", "focus", "pointerover", "mousemove"]) {
    try { one.dispatchEvent(new MouseEvent(kind, {bubbles: true})); } catch (error) {}
  }
}
const leads = (one) => /^(#[a-z0-9-]+|\\.\\.\\/index\\.html)$/.test(one.getAttribute("href"));
return {
  handlers: every.flatMap((one) => [...one.attributes]).filter((one) => one.name.startsWith("on")).length,
  links: every.filter((one) => one.hasAttribute("href") && !leads(one)).length,
  kinds: [...new Set(every.map((one) => one.localName))],
  ran: window.__pwned !== undefined,
};
"""
KINDS = frozenset(
    [
        "a", "body", "button", "circle", "clipPath", "clippath", "code", "defs", "details", "div", "em", "fieldset",
        "figcaption", "figure", "form", "g", "h1", "h2", "head", "header", "html", "input", "label", "legend", "li",
        "line", "main", "meta", "nav", "noscript", "optgroup", "option", "output", "p", "path", "pre", "rect",
        "script", "section", "select", "small", "span", "strong", "style", "summary", "svg", "table", "tbody", "td",
        "text", "th", "thead", "title", "tr", "ul", "wbr",
    ]
)  # fmt: skip


def check(browser: Any, title: str) -> None:
    told = browser.run(PROBE)
    assert not told["ran"] and told["handlers"] == told["links"] == 0
    assert set(told["kinds"]) <= KINDS, set(told["kinds"]) - KINDS
    assert browser.driver.title == title


def test_no_payload_runs_in_a_browser(browser: Any, synthetic: ModuleType, tmp_path: Path) -> None:
    document = compose(hostile_content(synthetic, EVERY))
    assert document.forms() and document.explorers() and document.figures()
    file = tmp_path / "index.html"
    file.write_text(html(Document("hostile page", document.opening, document.sections)), encoding="utf-8")
    browser.open(file)
    browser.drawn()
    check(browser, "hostile page")
    assert browser.rows("#answer") and browser.rows("#explore-rows"), "the form and the table are there"
    assert browser.run("return window.stopped") == [], "nothing was tried that the page's policy had to stop"


def test_hostile_names_stay_text_in_the_table_and_the_picture(browser: Any, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=document.title='owned'>"
    metrics = [{"key": "t|loss", "label": hostile, "task": hostile, "unit": "1", "direction": "lower"}]
    words = dict.fromkeys(("precision", "model", "data", "hardware", "status"), hostile)
    rows = [{"method": hostile + str(number), **words, "numbers": {"t|loss": [number, 0, 9]}} for number in range(3)]
    file = tmp_path / "index.html"
    file.write_text(html(Document("safe", [], [Section("Explore", [Explorer(metrics, rows)])])))
    browser.open(file)
    browser.drawn()
    check(browser, "safe")
    assert [row[0] for row in browser.rows("#explore-rows")] == [row["method"] for row in rows]


@pytest.mark.parametrize("payload", [EVERY[2], "<a href='javascript:1'>x</a>", "<p onclick='1'>x</p>", "<iframe>"])
def test_the_probe_would_see_a_payload_that_runs(browser: Any, tmp_path: Path, payload: str) -> None:
    """A page with the escaping taken out: if this passed, the other tests would mean nothing."""
    file = tmp_path / "index.html"
    file.write_text(f"<!doctype html><html><head><title>open</title></head><body><main>{payload}</main></body></html>")
    browser.open(file)
    with pytest.raises(AssertionError):
        check(browser, "open")
    browser.told(), browser.requests()
