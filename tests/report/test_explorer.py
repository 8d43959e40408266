"""What the page's own table, picture and form are given; tests/browser drives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.report.build import compose, content_of
from harness.report.document import Explorer
from harness.report.explorer import decide, explore
from harness.report.pages import markdown

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture(scope="module")
def content():
    return content_of(RESULTS, "quick")


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
