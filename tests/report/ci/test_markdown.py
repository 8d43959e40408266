"""Markdown as GitHub's own parser renders it: what a reader sees is the text, in as many cells as there should be."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.analyse.case import ORDER
from harness.report.ci.markdown import COMMENT_BYTES, SUMMARY_BYTES, escaped, summary
from harness.report.ci.told import one_line

ALLOWED = {"h2", "p", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "br", "details", "summary"}


class Page(HTMLParser):
    """The tags of a page, the texts of its table cells row by row, and everything that can be read."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.rows, self.text, self.inside = set(), [], "", False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data):
        self.text += data
        if self.inside:
            self.rows[-1][-1] += data


def page(text):
    """Rendered with raw HTML let through: whatever the text smuggled in would be there as an element."""
    return Page(cmarkgfm.github_flavored_markdown_to_html(text, options=Options.CMARK_OPT_UNSAFE))


def readable(text):
    return " ".join(text.replace("\u200b", "").split())


def test_worst_first_and_passes_folded(make_case):
    cases = [make_case(status, method=status) for status in reversed(ORDER)]
    text = summary(cases, "Night 7", ["12 nights.", "Store: s3://bucket"])
    found = page(text)
    assert [row[0] for row in found.rows if row[0] != "Status"] == list(ORDER)
    opened, folded = text.split("<details>")
    assert "pass |" not in opened and folded.count("| pass |") == 1 and "passed: 1" in folded
    assert opened.startswith("## Night 7\n\n**regression: 1 · errored: 1 · ")
    assert "Store: s3://bucket" in found.text.replace("\u200b", "")
    assert found.tags == ALLOWED


def test_what_a_row_says(make_case):
    case = make_case("regression", suspects=("torch 2.12 -> 2.13",), since="20261125", why="slower for 3 nights")
    row = page(summary([case], "t", [])).rows[1]
    assert [readable(cell) for cell in row[:5]] == [
        "regression", "train lora(rank=8) @ embedded, source, fp32, cpu(threads=2), seed 0: step_seconds", "100 ms",
        "125 ms", "+25 %, [20, 30] %",
    ]  # fmt: skip
    for told in ("slower for 3 nights", "torch 2.12 -> 2.13", "since 20261125", "harness accept 0a1b2c3d4e5f --rea"):
        assert told in readable(row[5])


def test_only_passes_need_no_table_in_the_open(make_case):
    text = summary([make_case()], "t", [])
    assert text.index("<details>") < text.index("| Status |")


def test_nothing_judged_is_said():
    assert summary([], "t", []) == "## t\n\nNothing was judged.\n"


@pytest.mark.parametrize("status", ["regression", "pass"])
def test_hostile_text_stays_in_its_cell(hostile, hostile_case, status):
    cases = [hostile_case(hostile, status), hostile_case(hostile, status, metric="loss", why="all well")]
    found = page(summary(cases, hostile, [hostile, hostile]))
    assert found.tags <= ALLOWED
    assert [len(row) for row in found.rows] == [6, 6, 6]
    assert {readable(row[0]) for row in found.rows} == {"Status", status}
    assert not re.search(r"(?<![\w@])@\w|#\d|GH-\d|://|www\.\w|mailto:\w", found.text)
    assert "\x00" not in found.text and "\x1b" not in found.text
    assert any(readable(one_line(hostile, 400)) in readable(row[5]) for row in found.rows)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab1 .-+=|\\`*_#@<>&[]()!~$:/wGH\n\t\x00é🧪;"), max_size=40) | st.text(max_size=40))
@example("-x")
@example("---")
@example("- 1. a")
@example("1. a")
@example("a\\")
@example("&#64;x &lt;")
@example("www.a.b @c #1")
@example("a@b.c")
def test_the_reader_sees_the_text(text):
    wanted = one_line(text, 400)
    row = page(f"| a | b |\n|---|---|\n| {escaped(text)} | end |\n").rows[1]
    assert [readable(cell) for cell in row] == [readable(wanted), "end"]
    item = page(f"- {escaped(text)}\n- end\n")
    assert item.tags <= {"ul", "li"} and readable(item.text) == readable(f"{wanted}\nend")
    title = page(f"## {escaped(text)}\n\nend\n")
    assert title.tags <= {"h2", "p"} and readable(title.text) == readable(f"{wanted}\nend")


@pytest.mark.parametrize("limit", [4_000, 10_000, COMMENT_BYTES])
def test_never_too_long_and_the_worst_are_kept(make_case, limit):
    statuses = [*["pass"] * 700, *["insufficient"] * 100, *["regression"] * 20]
    cases = [make_case(status, method=f"m{number}", why="🧪 " * 20) for number, status in enumerate(statuses)]
    text = summary(cases, "t", ["a fact 🧪"] * 1000, limit)
    assert limit * 0.6 < len(text.encode()) <= limit
    shown = [row[0] for row in page(text).rows if row[0] != "Status"]
    kept = ["regression"] * 20 + ["insufficient"] * 100 + ["pass"] * 700
    assert shown == kept[: len(shown)] and shown
    (line,) = [line for line in text.splitlines() if "more were left out" in line]
    assert line.startswith(f"{820 - len(shown)} more") and str(limit) in line
    assert sum(map(int, re.findall(r": (\d+)", line))) == 820 - len(shown)
    assert "regression: 20 · insufficient: 100 · pass: 700" in text, "all are counted at the top"


def test_all_that_fits_is_shown(make_case):
    cases = [make_case("insufficient", method=f"m{number}") for number in range(200)]
    text = summary(cases, "t", (), COMMENT_BYTES)
    assert "left out" not in text and len(page(text).rows) == 201


@pytest.mark.parametrize("limit", [4_000, 30_000, SUMMARY_BYTES])
def test_hostile_text_cannot_break_the_limit(hostile, hostile_case, limit):
    cases = [hostile_case(hostile, status) for status in ("regression", "pass") for _ in range(60)]
    text = summary(cases, hostile, [hostile] * 50, limit)
    assert len(text.encode()) <= limit
    assert page(text).tags <= ALLOWED


def test_a_comment_fits_github(every_hostile, hostile_case):
    text = summary([hostile_case(text, "errored") for text in every_hostile * 100], "t", (), COMMENT_BYTES)
    assert len(text.encode()) <= COMMENT_BYTES < 65_536 and "left out" in text
