"""What holds of every page: nothing from elsewhere, readable on a phone and in the dark, and links that lead there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from harness.analyse.choose import Constraints, choose
from harness.analyse.claimed import judged
from harness.claims import load
from harness.report.candidates import candidates_of, question_of
from harness.report.claims import claims_page
from harness.report.decision import build_decision
from harness.report.pages import html

ROOT = Path(__file__).resolve().parents[2]
# The contrast of every text with what is behind it, as WCAG 2 computes it; the worst of each kind of element.
CONTRAST = """
const part = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const rgba = (text) => { const all = text.match(/[\\d.]+/g).map(Number); return all.length < 4 ? [...all, 1] : all; };
const over = (top, below) => top.slice(0, 3).map((value, place) => value * top[3] + below[place] * (1 - top[3]));
function behind(one) {
  const layers = [];
  for (let at = one; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
}
const found = {};
for (const one of document.querySelectorAll("main *, main svg text")) {
  const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !one.getClientRects().length || one.closest("script, option, noscript")) continue;
  const style = getComputedStyle(one), drawn = one.namespaceURI.endsWith("svg");
  if (Number(style.opacity) === 0) continue;
  const below = behind(one), color = over(rgba(drawn ? style.fill : style.color), below);
  const [high, low] = [light(color), light(below)].sort((a, b) => b - a);
  const kind = `${one.localName}.${one.getAttribute("class") || ""} ${one.closest("tr")?.className || ""}`;
  const ratio = (high + 0.05) / (low + 0.05);
  if (!(kind in found) || ratio < found[kind][0]) found[kind] = [ratio, one.textContent.slice(0, 40)];
}
return found;
"""
# What a reader on a phone would have to push the whole page sideways for.
WIDER = """
const width = document.documentElement.clientWidth;
const held = (one) => { for (let at = one.parentElement; at !== document.body; at = at.parentElement)
  if (getComputedStyle(at).overflowX !== "visible") return true; return false; };
return [document.documentElement.scrollWidth - width, [...document.querySelectorAll("main *")]
  .filter((one) => one.getBoundingClientRect().right > width + 1 && !held(one))
  .map((one) => one.outerHTML.slice(0, 80))];
"""
# Texts of a picture of which one covers another.
COVERED = """
const found = [];
for (const picture of document.querySelectorAll(".chart svg")) {
  const texts = [...picture.querySelectorAll("text")].filter((one) => one.textContent.trim()
    && Number(getComputedStyle(one).opacity) > 0).map((one) => [one.textContent, one.getBoundingClientRect()]);
  texts.forEach(([name, one], place) => texts.slice(place + 1).forEach(([other, two]) => {
    if (Math.min(one.right, two.right) - Math.max(one.left, two.left) > 1
        && Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top) > 3) found.push([name, other]);
  }));
}
return found;
"""


@pytest.fixture(scope="module")
def decision(content, tmp_path_factory):
    question = question_of(content, model=None, hardware=None, quality=None)
    candidates = candidates_of(content, question)
    made = choose(candidates, Constraints(loss=0.02), "speed")
    out = tmp_path_factory.mktemp("reports") / "quick" / "choose"
    return build_decision(content, question, candidates, made, "import torch\n" * 3, out)[0]


@pytest.fixture(params=["report", "decision", "verdicts", "index"])
def each(request, page, decision, reports):
    """A report, a decision, the verdicts on claims, and the page over all."""
    return {"report": page, "decision": decision, "verdicts": reports / "verdicts" / "index.html",
            "index": reports / "index.html"}[request.param]  # fmt: skip


def test_a_page_asks_for_nothing_but_itself(browser, each):
    browser.open(each)
    browser.drawn()
    asked = [one for one in browser.requests() if one.startswith(("file:", "http"))]
    assert asked == [each.resolve().as_uri()]


def test_the_policy_stops_what_a_page_may_not_do(browser, page):
    browser.open(page)
    browser.run("""
        fetch("https://example.invalid/").catch(() => {});
        for (const [name, at] of [["script", "src"], ["img", "src"], ["iframe", "src"]]) {
          const one = document.createElement(name); one[at] = "https://example.invalid/x"; document.body.append(one);
        }
        const style = document.createElement("link");
        style.rel = "stylesheet"; style.href = "https://example.invalid/x.css"; document.head.append(style);
    """)
    expected = {"connect-src", "script-src-elem", "img-src", "frame-src", "style-src-elem"}
    browser.until(lambda: set(browser.run("return window.stopped")) >= expected, "each is stopped")
    assert len(browser.told()) >= len(expected), "and told of on the console"


def test_a_verdict_leads_to_its_rows(browser, reports, tmp_path):
    """A click on what a ratio is from opens that suite's page with the rows of its model and precision."""
    (one,) = [one for one in judged(load(), ROOT / "results") if one.claim.id == "lora-latency"]
    (tmp_path / "verdicts").mkdir()
    (tmp_path / "latency").symlink_to(reports / "latency")
    file = tmp_path / "verdicts" / "index.html"
    file.write_text(html(claims_page([one])), encoding="utf-8")
    browser.open(file)
    browser.find("td a").click()
    browser.until(lambda: browser.driver.current_url.startswith((tmp_path / "latency").as_uri()), "the suite's page")
    browser.drawn()
    shown = browser.rows("#explore-rows")
    assert {"full_finetune", "lora > merge"} <= {row[0] for row in shown}
    assert browser.find("input[name=filter]").get_attribute("value") == f"{one.chosen.model} {one.chosen.precision}"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_is_told_from_what_is_behind_it(browser, each, dark):
    browser.open(each, dark=dark)
    browser.drawn()
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    found = browser.run(CONTRAST)
    assert len(found) >= 5
    assert {kind: told for kind, told in found.items() if told[0] < 4.5} == {}


def test_no_text_of_a_picture_covers_another(browser, page):
    browser.open(page)
    browser.drawn()
    assert browser.run("return document.querySelectorAll('.chart svg text').length") > 300
    assert browser.run(COVERED) == []


def test_pictures_follow_the_scheme_while_the_page_is_open(browser, page):
    browser.open(page)
    browser.drawn()
    titles = "[...document.querySelectorAll('.chart .role-axis-title text')]"
    colors = f"return {titles}.map((one) => getComputedStyle(one).fill)"
    light = set(browser.run(colors))
    browser.look(1280, 900, dark=True)
    browser.until(lambda: not light & set(browser.run(colors) or light), "every picture is drawn again")
    fills = browser.run("""return [...document.querySelectorAll(".chart[data-figure] .mark-symbol.role-mark path")]
        .map((one) => getComputedStyle(one).fill).filter((one) => one.startsWith("rgb("))""")
    dim = {one for one in fills if brightness(one) < 3 * (brightness("rgb(15, 20, 25)") + 0.05) - 0.05}
    assert len(set(fills)) >= 8 and not dim, "every mark is told from a dark page"


def brightness(color):
    """The relative luminance of a colour like ``rgb(1, 2, 3)``, as WCAG 2 computes it."""
    parts = [int(one) / 255 for one in re.findall(r"\d+", color)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_phone_scrolls_the_page_down_only(browser, each):
    browser.open(each, width=390, height=844)
    browser.drawn()
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert browser.run("return innerWidth") == 390 and browser.run(WIDER) == [0, []]


def test_sections_are_where_their_links_lead(browser, page):
    browser.open(page)
    browser.drawn()
    for link in browser.driver.find_elements("css selector", "nav a"):
        name = link.get_attribute("href").partition("#")[2]
        browser.run("arguments[0].focus()", link)
        browser.press(Keys.ENTER)
        at = f"""const top = document.getElementById("{name}").getBoundingClientRect().top;
            const {{ scrollTop, scrollHeight }} = document.documentElement;
            return (top > -2 && top < 2) || (top > 0 && scrollTop + innerHeight >= scrollHeight - 2);"""
        browser.until(lambda at=at: browser.run(at), f"{name} is in sight")
    browser.open(page, f"#{name}")
    browser.drawn()
    browser.until(lambda: browser.run(at), f"{name} is in sight when the page is opened there")


def test_folded_sections_open_without_a_mouse(browser, page):
    browser.open(page)
    one = browser.find("details > summary")
    browser.run("arguments[0].focus()", one)
    browser.press(Keys.ENTER)
    assert browser.find("details").get_attribute("open") is not None


def test_the_index_leads_to_every_report_and_back(browser, reports):
    index = reports / "index.html"
    browser.open(index)
    links = [one.get_attribute("href") for one in browser.driver.find_elements("css selector", ".links a")]
    there = {path.parent.resolve().as_uri() for path in reports.glob("*/index.html")}
    assert {one.rpartition("/")[0] for one in links} == there
    browser.run("arguments[0].focus()", browser.find(".links a[href='quick/index.html']"))
    browser.press(Keys.ENTER)
    browser.until(lambda: browser.driver.title == "quick", "the report is opened")
    browser.find(".up a").click()
    browser.until(lambda: browser.driver.title == "Reports", "and the index again")
    browser.told()  # the slow test below holds committed reports to their silence


@pytest.mark.slow
def test_every_committed_report_opens_without_complaint(browser, reports):
    for path in sorted(reports.glob("*/index.html")):
        browser.open(path, width=390, height=844)
        browser.drawn()
        assert browser.told() == [], path
        assert browser.run(WIDER) == [0, []], path
