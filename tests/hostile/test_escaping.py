"""A hundred payloads in every text of records, plans, nights and claims, through every renderer: none is active.

What "active" means is not guessed: a page with payloads must have the very elements, attributes and links that it has
with plain words in their place, in HTML and in Markdown as a code host renders it.
"""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from payloads import EVERY, FORMULAS
from worlds import ran, written

from harness.analyse.case import Case, Place
from harness.plain_json import loads
from harness.plain_text import clean, inert, one_line, spreadsheet_text
from harness.report.build import compose
from harness.report.charts import svg
from harness.report.ci.annotations import annotation_lines
from harness.report.ci.junit import junit
from harness.report.ci.markdown import summary
from harness.report.content import Content
from harness.report.document import Document, Figure
from harness.report.pages import html, markdown
from harness.results.facts import facts_of
from harness.results.items import items_of
from harness.results.nights import night_of
from harness.results.rows import frame_of, to_csv

# The words that stand in a payload's place: as many, as different, and as orderly.
PLAIN = tuple("word" + "".join("abcdefghij"[int(digit)] for digit in f"{number:03d}") for number in range(len(EVERY)))
ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")
FIELDS = ("method", "stage", "technique", "task", "precision")


def record(synthetic: ModuleType, number: int, texts: Sequence[str], **changes: Any) -> dict[str, Any]:
    """A record with a text in every field that takes one; which of them, goes round with ``number``."""

    def text(shift: int) -> str:
        return texts[(number + shift) % len(texts)]

    found: dict[str, Any] = synthetic.record(
        "eval",
        text(0),
        step=f"{number:016x}",
        metrics={
            "loss": 2.0 + number / 1000,
            "bits_per_byte": 1.0 + number / 1000,
            "peak_memory_bytes": 1e8 + number,
            "decode_tokens_per_second": 100.0 + number,
        },
        items={text(1): {"item": [text(2), text(3)], "nll": [1.0, 2.0]}},
        spans=[{"name": text(4), "seconds": 1.0, "peak_memory_bytes": 5}],
        command=["harness", text(5)],
        flags=[text(6).replace("; ", ";"), text(7).replace("; ", ";")],
        log_tail=[text(8), text(9)],
        reason=text(10),
        observed={text(11): text(12)},
        commit={"sha": text(13), "dirty": True},
        **changes,
    )
    found["coordinates"] |= {
        "stage": text(14),
        "technique": text(15),
        "task": text(16),
        "precision": text(17),
        "params": {text(18): text(19)},
    }
    found["environment"] = {
        "installation": "i",
        "hard_id": text(20),
        "hard": {"cpu_model": text(21), "cores": 2, text(22): text(23), "gpus": [text(24)]},
        "soft": {"libraries": {text(25): text(26)}, text(27): text(28)},
    }
    return found


def records(synthetic: ModuleType, texts: Sequence[str]) -> list[dict[str, Any]]:
    """One record for each text, done and failed in turns; model, data, hardware and task hold thirty texts each."""
    made = []
    for number in range(len(texts)):
        status = "done" if number % 5 else ("failed", "crashed", "skipped", "invalid")[number // 5 % 4]
        one = record(synthetic, number, texts, status=status)
        part = number // 30 * 30
        joined = " ".join(texts[part : part + 30])
        one["coordinates"] |= {
            "model": f"m {joined}",
            "data": f"d {joined}",
            "hardware": f"h {joined}",
            "task": f"t {joined}",
        }
        made.append(loads(json.dumps(one)))  # as it is read
    return made


def plan(made: Sequence[dict[str, Any]], texts: Sequence[str]) -> dict[str, Any]:
    """A plan of these records, and of as many steps that never ran."""
    texts = loads(json.dumps(list(texts)))
    cells = [
        {
            "id": texts[number],
            **{key: one["coordinates"][key] for key in ("method", "model", "data", "precision", "hardware")},
            "seed": None,
            "steps": [one["step"]],
        }
        for number, one in enumerate(made)
    ]
    return {
        "format": 1,
        "suite": texts[3],
        "question": " ".join(texts),
        "notes": list(texts),
        "baseline": texts[0],
        "cells": cells,
        "steps": [
            {
                "id": one["step"],
                "operation": "eval",
                "coordinates": one["coordinates"],
                "state": "runnable",
                "reason": texts[number],
            }
            for number, one in enumerate(made)
        ],
        "trials": [],
    }


def content(synthetic: ModuleType, texts: Sequence[str]) -> Content:
    made = records(synthetic, texts)
    frame = frame_of(made)
    frame.attrs["unreadable"] = [" ".join(loads(json.dumps(list(texts))))]
    return Content(frame, items_of(made), plan(made, texts), facts_of(made))


@pytest.fixture(scope="module")
def pair(synthetic: ModuleType) -> tuple[Document, Document]:
    """The same report with payloads, and with plain words."""
    return compose(content(synthetic, EVERY)), compose(content(synthetic, PLAIN))


class _Inventory(HTMLParser):
    """Elements with the names of their attributes, and where links and pictures lead."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: Counter[tuple[str, ...]] = Counter()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "wbr":
            return
        self.found[tag, *sorted(name for name, _ in attrs)] += 1
        for name, value in attrs:
            if (
                name in ("href", "src", "action", "srcdoc", "data", "formaction", "id", "class", "style")
                and tag != "input"
            ):
                self.found[tag, name, str(value)] += 1

    handle_startendtag = handle_starttag

    def handle_comment(self, data: str) -> None:
        self.found["comment", data] += 1

    def handle_decl(self, decl: str) -> None:
        self.found["declaration", decl] += 1

    unknown_decl = handle_decl
    handle_pi = handle_decl

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def inventory(page: str) -> _Inventory:
    found = _Inventory()
    found.feed(page)
    found.close()
    return found


def test_there_are_a_hundred_payloads() -> None:
    assert len(set(EVERY)) == len(EVERY) >= 100


def test_the_page_has_the_elements_that_it_has_with_plain_words(pair: tuple[Document, Document]) -> None:
    hostile, plain = (inventory(html(document)) for document in pair)
    assert hostile.found == plain.found
    assert not ACTIVE.search("".join(hostile.text).replace("\n", "")), "no control, no mark that turns the text round"


def test_every_payload_is_on_the_page_as_text(pair: tuple[Document, Document]) -> None:
    """Or the test before would pass by showing nothing."""
    shown = "".join("".join(inventory(html(pair[0])).text).split())
    missing = [text for text in EVERY if "".join(clean(loads(json.dumps(text))).split()) not in shown]
    assert not missing


def as_a_code_host(text: str) -> str:
    """Markdown with GitHub's extensions and raw HTML let through, which is the worst that a host may do."""
    extensions = ["table", "autolink", "strikethrough", "tasklist"]
    return str(
        cmarkgfm.markdown_to_html_with_extensions(
            text, options=Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_FOOTNOTES, extensions=extensions
        )
    )


def test_the_markdown_has_the_elements_that_it_has_with_plain_words(pair: tuple[Document, Document]) -> None:
    hostile, plain = (inventory(as_a_code_host(markdown(document))) for document in pair)
    # A bare address becomes a link that shows where it leads, which is what it says: those alone may come.
    links = dict(hostile.found - plain.found)
    assert all(key[0] == "a" for key in links), links
    assert all(
        key[-1].startswith(("http://", "https://", "mailto:")) for key in links if key[1] == "href" and len(key) == 3
    )
    blank = sum(not one_line(text) for text in EVERY)  # of which no paragraph is made
    assert sum((plain.found - hostile.found).values()) <= blank and set(plain.found - hostile.found) <= {("p",)}
    assert not ACTIVE.search("".join(hostile.text).replace("\n", ""))


def test_a_block_of_code_ends_where_it_should(synthetic: ModuleType) -> None:
    from harness.report.document import Paragraph, Section

    blocks = [(Paragraph("before"), Paragraph(f"a{text}b", "code"), Paragraph("after")) for text in EVERY]
    page = markdown(Document("t", [], [Section("s", [one for three in blocks for one in three])]))
    found = inventory(as_a_code_host(page)).found
    count = len(EVERY)
    assert found == {("h1",): 1, ("h2",): 1, ("p",): 2 * count + 1, ("pre",): count, ("code",): count + 1}


def test_a_picture_of_every_payload_holds_words_alone() -> None:
    import altair
    import pandas

    from harness.report.charts import specification

    frame = pandas.DataFrame({"name": loads(json.dumps(EVERY)), "x": range(len(EVERY))})
    chart = altair.Chart(frame).mark_bar().encode(x="x:Q", y="name:N", tooltip=["name:N"])
    _check_picture(svg(specification(chart)))


def _check_picture(text: str) -> None:
    for element in ElementTree.fromstring(text).iter():
        tag = element.tag.rpartition("}")[2].lower()
        assert tag in (
            "svg",
            "g",
            "path",
            "text",
            "rect",
            "line",
            "defs",
            "clippath",
            "circle",
            "tspan",
            "style",
            "title",
            "lineargradient",
            "stop",
        ), tag
        assert not [name for name in element.attrib if name.lower().startswith("on") or "href" in name.lower()]


def test_file_names_of_figures_are_ours(pair: tuple[Document, Document]) -> None:
    for document in pair:
        names = [block.name for section in document.sections for block in section.blocks if isinstance(block, Figure)]
        assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names), names


def test_data_in_the_page_cannot_end_its_element(pair: tuple[Document, Document]) -> None:
    page = html(pair[0])
    inside = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert inside and all("<" not in text and ">" not in text for text in inside)
    assert all(isinstance(json.loads(text), dict) for text in inside)


@pytest.mark.parametrize("status", ["regression", "errored", "insufficient", "pass"])
def test_what_ci_reads_holds_words_alone(status: Any) -> None:
    for text in EVERY:
        place = Place(text, text, text, text, text, text, text, text, text, text, 0)
        case = Case(text, place, text, status, text, 0.1, 0.2, 1.0, 0.9, 1.1, 0.1, text, (text, text))
        tree = ElementTree.fromstring(junit([case], text))
        assert {one.tag for one in tree.iter()} <= {
            "testsuites",
            "testsuite",
            "testcase",
            "failure",
            "error",
            "skipped",
            "system-out",
        }
        assert len(list(tree.iter("testcase"))) == 1
        lines = annotation_lines([case])
        assert all(
            line.count("\n") == 0 and re.fullmatch(r"::(error|warning|notice) title=[^\x00-\x08\x0a-\x1f]*", line)
            for line in lines
        )
        assert all(line[2:].count("::") >= 1 and "##[" not in line for line in lines)
        found = inventory(as_a_code_host(summary([case], text, [text])))
        assert not {key[0] for key in found.found} & {
            "script",
            "img",
            "svg",
            "iframe",
            "a",
            "h1",
            "style",
            "form",
            "input",
        }, repr(text)
        assert not ACTIVE.search("".join(found.text).replace("\n", ""))


def test_a_spreadsheet_computes_nothing_and_numbers_stay(synthetic: ModuleType) -> None:
    made = records(synthetic, EVERY)
    made[1]["metrics"] |= {"kl_divergence": -0.125, "loss": -1e-9}
    text = io.StringIO()
    frame = frame_of(made)
    to_csv(frame, text)
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    assert len(rows) == len(frame)
    numbers = ("value", "sample", "seed")
    for row in rows:
        assert not [
            value
            for name, value in row.items()
            if name not in numbers and value.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
        ]
        assert not ACTIVE.search("".join(row.values()).replace("\n", ""))
    assert {-0.125, -1e-9} <= {float(row["value"]) for row in rows if row["value"]}
    values = [float(row["value"]) for row in rows if row["value"]]
    assert values == frame["value"].dropna().tolist(), "to the last digit"
    assert "'=1+1" in {row["method"] for row in rows}
    assert all(spreadsheet_text(one).startswith("'") for one in FORMULAS)
    assert spreadsheet_text("lora(rank=4)") == "lora(rank=4)"


def _inert(text: str) -> bool:
    lines = re.split(r"[\n\r]", text)
    return not ACTIVE.search(text.replace("\n", "")) and not any(
        line.lstrip().startswith("::") or "##[" in line for line in lines
    )


def test_the_terminal_obeys_nothing(synthetic: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = records(synthetic, EVERY)
    results = written(tmp_path / "results", made, "s", plan(made, EVERY) | {"suite": "s"})
    night = night_of([{**one, "suite": "s"} for one in made])
    (results / "s" / "nights").mkdir()
    (results / "s" / "nights" / f"{night.name}.json").write_text(night.to_json())
    claims = tmp_path / "claims.yaml"
    entries = [
        {
            name: EVERY[(number + shift) % len(EVERY)] or "-"
            for shift, name in enumerate(("id", "technique", "statement", "source", "needs"))
        }
        | {"verified": False, "id": f"{number} {one_line(text)}"}
        for number, text in enumerate(EVERY)
    ]
    claims.write_text(json.dumps(entries))
    common = ("--results", results)
    commands: list[tuple[object, ...]] = [
        ("rows", *common),
        ("rows", *common, "--csv", "-"),
        ("history", "s", *common),
        ("history", "s", *common, "--annotations"),
        ("claims", results, "--claims", claims, "--suite", "s"),
        ("export", "s", "--format", "pytest-benchmark", *common),
        ("compare", "installation=iiii", "method=x", *common),
        ("choose", "s", *common),
        ("accept", "x", "--reason", "y", *common),
        ("rows", "nothing-\x1b[31m\n::error::x", *common),
    ]
    for command in commands:
        code, out, err = ran(capsys, *command)
        assert code in (0, 1, 2, 3) and "Traceback" not in err, (command, err[-2000:])
        shown = "\n".join(line for line in out.split("\n") if not re.match(r"::(error|warning|notice) title=", line))
        assert _inert(shown) and _inert(err), command
        if code == 2:
            assert err.strip().splitlines()[-1].startswith("harness: ")


def test_the_result_table_obeys_nothing_either(synthetic: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.reporting import show_results

    show_results(content(synthetic, EVERY))
    shown = capsys.readouterr().out
    assert "document.title" in shown and _inert(shown)


def test_the_progress_of_a_sweep_obeys_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.progress import _Lines, label
    from harness.run.events import StepFinished

    lines = _Lines([])
    for text in EVERY:
        job = {
            "operation": "eval",
            "coordinates": {"task": text, "seed": None, "method": text, "model": text, "precision": text},
        }
        lines(StepFinished(job, 1, 1, "failed", 1.0, text))
        assert _inert(label(job))
    assert _inert(capsys.readouterr().err)


def test_json_on_the_terminal_reads_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.terminal import print_json

    print_json({text.encode("utf-8", "replace").decode(): text for text in EVERY})
    out = capsys.readouterr().out
    assert _inert(out) and set(json.loads(out).values()) == set(EVERY)


def test_a_terminal_without_letters_gets_their_escapes() -> None:
    from harness.cli.terminal import print as say

    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    say("é 漢 \udc9b 🧪", file=stream)
    stream.flush()
    assert raw.getvalue() == b"\\xe9 \\u6f22 \\udc9b \\U0001f9ea\n"


def test_cleaning_is_idempotent_and_leaves_plain_text_alone() -> None:
    for text in EVERY:
        assert clean(clean(text)) == clean(text) and inert(inert(text)) == inert(text) and "\n" not in one_line(text)
    for plain in ("lora(rank=4) > int8", "naïve 漢字 emoji 🧪", "a: b", "# x", "tab\tkept", "two\nlines", "👩‍👩‍👧"):
        assert clean(plain) == inert(plain) == plain


def test_the_index_and_the_pages_of_claims_and_decisions_hold_words_alone(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    from harness.analyse.claimed import judged
    from harness.claims import Claim
    from harness.report.claims import claims_page
    from harness.report.document import Bullets, Paragraph, Section
    from harness.report.index import build_index
    from harness.report.writing import write_document

    pages = []
    for texts in (EVERY, PLAIN):
        made = [
            Claim(f"{number}{text}", text, text, text, False, published=text, needs=text, counter=(text,))
            for number, text in enumerate(texts)
        ]
        pages.append(claims_page(judged(made, tmp_path / "none")))
    hostile, plain = (inventory(html(page)).found for page in pages)
    assert hostile == plain
    hostile, plain = (inventory(as_a_code_host(markdown(page))).found for page in pages)
    assert {key[0] for key in hostile - plain} <= {"a"}
    for number, name in enumerate(
        ["javascript:alert(1)", "a b", "x)(y", '"><img src=x>', "%2e%2e", "c:d", "'onclick='x", "data:text,x"]
    ):
        told = [Paragraph(EVERY[number], "lead"), Bullets(list(EVERY[number : number + 3]))]
        write_document(Document(EVERY[number], told, [Section("Results", [])]), tmp_path / "reports" / name)
    build_index(tmp_path / "reports")
    page, text = ((tmp_path / "reports" / name).read_text() for name in ("index.html", "README.md"))
    links = [key[2] for key in inventory(page).found if key[:2] == ("a", "href") and len(key) == 3]
    assert len([link for link in links if link.endswith("/index.html")]) == 8
    assert all(re.fullmatch(r"#[a-z0-9-]+|[\w.%~-]+/index\.html", link) for link in links), links
    found = inventory(as_a_code_host(text)).found
    assert not {key[0] for key in found} & {"img", "script", "svg", "h3"}
