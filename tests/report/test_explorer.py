"""The page's own table and picture: what they are given, and what a real browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest

from harness.report.build import compose, content_of
from harness.report.document import Document, Explorer, Section
from harness.report.explorer import decide, explore
from harness.report.pages import html, markdown

RESULTS = Path(__file__).resolve().parents[2] / "results"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def content():
    return content_of(RESULTS, "quick")


@pytest.fixture(scope="module")
def page(content, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "index.html"
    file.write_text(html(compose(content)))
    return file


def opened(file, **view):
    """The document after its scripts have run, with ``view`` in its address; no script may have complained."""
    address = file.resolve().as_uri() + ("#explore?" + "&".join(f"{key}={quote(value)}" for key, value in view.items()))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
               "--virtual-time-budget=8000", address]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    complaints = [line for line in said if "WARN Conflicting scale" not in line]
    assert not complaints, complaints[:3]
    return unescape(done.stdout)


def rows_of(text):
    body = re.search(r'<tbody id="explore-rows">(.*?)</tbody>', text, re.DOTALL)[1]
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("</tr>") if "<td" in row]


def test_every_planned_group_is_a_row_with_what_the_summary_says(content):
    block = next(one for one in explore(content).blocks if isinstance(one, Explorer))
    assert len(block.rows) == len(content.outcomes)
    row = next(one for one in block.rows if one["method"] == "int4" and one["precision"] == "fp32")
    key = next(one.key for one in content.outcomes if one.key[0] == "int4" and one.key[3] == "fp32")
    line = content.score(key, "perplexity", "bits_per_byte")
    assert row["numbers"]["perplexity|bits_per_byte"] == [line["value"], line["low"], line["high"]]
    assert {one["key"] for one in block.metrics} >= set(row["numbers"])
    assert all(one["direction"] in ("lower", "higher", "none") for one in block.metrics)


def test_the_interactive_parts_are_in_the_page_alone(content):
    document = compose(content)
    assert [section.title for section in document.sections[:2]] == ["Explore", "Decide"]
    text = markdown(document)
    assert "## Explore" not in text and "## Decide" not in text and "## Results" in text
    json.dumps([one.rows for one in document.explorers()], allow_nan=False)


def test_a_suite_without_quality_has_no_decision():
    assert decide(content_of(RESULTS, "memory")) is None


@needs_browser
def test_a_link_filters_and_sorts(page, content):
    rows = rows_of(opened(page, filter="lora fp32", sort="perplexity|bits_per_byte", down="1"))
    assert rows and all("lora" in row[0] and row[1] == "fp32" for row in rows)
    names = [row[0] for row in rows]
    values = {str(one.key[0]): content.score(one.key, "perplexity", "bits_per_byte")["value"]
              for one in content.outcomes if one.key[3] == "fp32" and "lora" in str(one.key[0])}  # fmt: skip
    assert names == sorted(values, key=values.get, reverse=True)


@needs_browser
def test_the_picture_marks_what_nothing_beats(page, content):
    text = opened(page, x="generation_speed|decode_tokens_per_second", y="perplexity|bits_per_byte", filter="embedded")
    said = re.search(r'id="explore-best">No method beats on both: (.*?)\.</p>', text)[1].split("; ")
    points = {}
    for one in content.outcomes:
        lines = [content.score(one.key, task, metric) for task, metric in
                 (("generation_speed", "decode_tokens_per_second"), ("perplexity", "bits_per_byte"))]  # fmt: skip
        if all(lines) and one.key[1] == "embedded":
            points[f"{one.key[0]} · {one.key[3]}"] = (-lines[0]["value"], lines[1]["value"])
    best = [name for name, (a, b) in points.items()
            if not any(c <= a and d <= b and (c, d) != (a, b) for c, d in points.values())]  # fmt: skip
    assert sorted(said) == sorted(best)
    assert "<svg" in text.partition('id="explore-picture"')[2][:4000]


@needs_browser
def test_ten_thousand_rows_show_two_hundred(tmp_path):
    metrics = [{"key": "|checkpoint_bytes", "label": "Size", "task": "", "unit": "B", "direction": "lower"},
               {"key": "t|loss", "label": "Loss", "task": "t", "unit": "1", "direction": "lower"}]  # fmt: skip
    words = {"precision": "fp32", "model": "a", "data": "b", "hardware": "cpu", "status": "done"}
    rows = [{"method": f"m{number}", **words,
             "numbers": {"|checkpoint_bytes": [1e6 + number, None, None], "t|loss": [1e4 - number, None, None]}}
            for number in range(10_000)]  # fmt: skip
    file = tmp_path / "index.html"
    file.write_text(html(Document("many", [], [Section("Explore", [Explorer(metrics, rows)])])))
    text = opened(file, sort="t|loss", filter="m")
    shown = rows_of(text)
    assert len(shown) == 200 and shown[0][0] == "m9999"
    assert "200 of 10000 rows; filter to see the others" in text


@needs_browser
def test_hostile_names_stay_text(tmp_path):
    hostile = "<img src=x onerror=document.title='owned'>"
    metrics = [{"key": "t|loss", "label": hostile, "task": hostile, "unit": "1", "direction": "lower"}]
    words = dict.fromkeys(("precision", "model", "data", "hardware", "status"), hostile)
    rows = [{"method": hostile + str(number), **words, "numbers": {"t|loss": [number, 0, 9]}} for number in range(3)]
    file = tmp_path / "index.html"
    file.write_text(html(Document("safe", [], [Section("Explore", [Explorer(metrics, rows)])])))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=5000",
               file.resolve().as_uri()]  # fmt: skip
    raw = subprocess.run(command, capture_output=True, text=True, timeout=200).stdout
    body = raw[raw.index("<body") :].partition("<script")[0]
    assert "<img" not in body and "<title>safe</title>" in raw
