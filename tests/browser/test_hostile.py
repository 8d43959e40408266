"""The pages in a real browser: every payload is on them, nothing of it runs, and the pages' own scripts do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from payloads import EVERY
from test_escaping import content

from harness.report.build import compose
from harness.report.document import Document
from harness.report.pages import html

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
# Laid over the page's end: clicks and hovers on whatever could carry a handler, and says at last that it was there.
PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const every = [...document.querySelectorAll("*")];
  for (const one of document.querySelectorAll("details")) one.open = true;
  for (const one of document.querySelectorAll("main *, svg *")) {
    for (const kind of ["mouseover", "mouseenter", "focus", "pointerover", "mousemove"]) {
      try { one.dispatchEvent(new MouseEvent(kind, {bubbles: true})); } catch (error) {}
    }
  }
  const found = document.documentElement.dataset;
  found.handlers = every.flatMap((one) => [...one.attributes]).filter((one) => one.name.startsWith("on")).length;
  found.links = every.filter((one) => one.hasAttribute("href") && !/^(#[a-z0-9-]+|\\.\\.\\/index\\.html)$/.test(one.getAttribute("href"))).length;
  found.kinds = [...new Set(every.map((one) => one.localName))].sort().join(" ");
  found.probed = String(window.__pwned === undefined);
}, 1500));
</script>
</body>"""
KINDS = frozenset(
    [
        "a",
        "body",
        "button",
        "circle",
        "clipPath",
        "clippath",
        "code",
        "defs",
        "details",
        "div",
        "em",
        "fieldset",
        "figcaption",
        "figure",
        "form",
        "g",
        "h1",
        "h2",
        "head",
        "header",
        "html",
        "input",
        "label",
        "legend",
        "li",
        "line",
        "main",
        "meta",
        "nav",
        "noscript",
        "optgroup",
        "option",
        "output",
        "p",
        "path",
        "pre",
        "rect",
        "script",
        "section",
        "select",
        "small",
        "span",
        "strong",
        "style",
        "summary",
        "svg",
        "table",
        "tbody",
        "td",
        "text",
        "th",
        "thead",
        "title",
        "tr",
        "ul",
        "wbr",
    ]
)


def opened(page: str, folder: Path) -> tuple[str, str]:
    """The page's document after its scripts have run, and what was said on the console."""
    file = folder / "index.html"
    file.write_text(page.replace("</body>\n</html>", f"{PROBE}\n</html>"), encoding="utf-8")
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        "--virtual-time-budget=20000",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
        file.resolve().as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def check(text: str, title: str) -> None:
    opening = re.search(r"<html[^>]*>", text)
    assert opening is not None, "the browser has opened the page"
    told = dict(re.findall(r'data-([a-z]+)="([^"]*)"', opening[0]))
    assert told.get("probed") == "true", "the probe has run, and no payload set its mark"
    assert told["handlers"] == told["links"] == "0" and "pwned" not in told
    assert set(told["kinds"].split()) <= KINDS, set(told["kinds"].split()) - KINDS
    assert f"<title>{title}</title>" in text


@needs_browser
def test_no_payload_runs_in_a_browser(synthetic: ModuleType, tmp_path: Path) -> None:
    document = compose(content(synthetic, EVERY))
    assert document.forms() and document.explorers() and document.figures()
    page = html(Document("hostile page", document.opening, document.sections))
    text, console = opened(page, tmp_path)
    check(text, "hostile page")
    assert text.count('class="marks"') >= len(document.figures()), "vega has drawn every figure"
    assert 'id="answer"><tr' in text and 'id="explore-rows"><tr' in text, "the form and the table are there"
    assert "Refused" not in console, "nothing was tried that the page's policy had to stop"


@needs_browser
def test_the_probe_would_see_a_payload_that_runs(tmp_path: Path) -> None:
    """A page with the escaping taken out: if this passed, the other test would mean nothing."""
    page = (
        "<!doctype html>\n<html><head><title>open</title></head><body><main>" + EVERY[2] + "</main>\n</body>\n</html>"
    )
    text, _ = opened(page, tmp_path)
    with pytest.raises(AssertionError):
        check(text, "open")
