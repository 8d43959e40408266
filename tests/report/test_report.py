"""The report: every planned cell, honest words, escaped names, no network, the same rows the same bytes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.metrics import METRICS
from harness.report.build import build_suite, compose
from harness.report.content import Content
from harness.report.document import Bullets, Document, Table
from harness.report.pages import html, markdown
from harness.results.facts import facts_of
from harness.results.items import items_of
from harness.results.rows import frame_of

GOLDEN = Path(__file__).parent / "golden"
METHODS = ("base", "lora", "int8", "int4", "lora > int8")


def content(records: list[dict[str, Any]], plan: dict[str, Any] | None = None) -> Content:
    return Content(frame_of(records), items_of(records), plan or {}, facts_of(records))


@pytest.fixture(scope="module")
def whole(synthetic: ModuleType) -> Content:
    return content(synthetic.records(METHODS), synthetic.plan(METHODS))


@pytest.fixture(scope="module")
def document(whole: Content) -> Document:
    return compose(whole)


@pytest.fixture(scope="module")
def page(document: Document) -> str:
    return html(document)


def section(document: Document, title: str) -> Any:
    return next(one for one in document.sections if one.title == title)


def tables(document: Document, title: str) -> list[Table]:
    return [block for block in section(document, title).blocks if isinstance(block, Table)]


def row(table: Table, method: str, precision: str = "fp32") -> Any:
    return next(one for one in table.rows if (one.values[0].text, one.values[0].note) == (method, precision))


def headlines(document: Document) -> str:
    return "\n".join(next(block for block in document.opening if isinstance(block, Bullets)).items)


@pytest.mark.parametrize(("speed", "said"), [
    (330.0, "No method decodes clearly faster than the baseline: lora at fp32 has 330 tokens/s and base at fp32 300"),
    (900.0, "Fastest decoding: lora at fp32 with 900 tokens/s; nothing else is tied with it."),
    (200.0, "No method decodes faster than the baseline (300 tokens/s; the slowest reaches 200)."),
])  # fmt: skip
def test_the_fastest_is_named_where_it_is_faster_than_noise(synthetic: ModuleType, speed: float, said: str) -> None:
    records = [
        synthetic.record("eval", name, task="generation_speed", metrics={"decode_tokens_per_second": value})
        for name, value in (("base", 300.0), ("lora", speed))
    ]
    assert said in headlines(compose(content(records)))


@pytest.mark.parametrize(("right", "said"), [
    (6, "lora5 at fp32 has the best value of 7, 56.0 %"),
    (20, "Best choice accuracy on choice: lora5 at fp32 with 70 %")
])  # fmt: skip
def test_the_best_of_many_is_not_taken_for_better_by_chance(synthetic: ModuleType, right: int, said: str) -> None:
    def accuracy(method: str, correct: int) -> dict[str, Any]:
        items = {"choice": {"item": list(range(100)), "correct": [1] * correct + [0] * (100 - correct)}}
        return synthetic.record("eval", method, task="choice", metrics={"choice_accuracy": correct / 100}, items=items)

    others = [accuracy(f"lora{place}", 49) for place in range(5)]
    records = [accuracy("base", 50), *others, accuracy("lora5", 50 + right)]
    text = headlines(compose(content(records)))
    assert said in text and ("by chance" in text) is (right == 6)


@pytest.mark.parametrize(("better", "said"), [
    (0.3, "lora5 at fp32 has the best value of 7, 0.997"),
    (1.0, "Best loss per token on perplexity: lora5 at fp32 with 0.99"),
])  # fmt: skip
def test_the_lowest_loss_of_many_is_not_taken_for_lower_by_chance(
    synthetic: ModuleType, better: float, said: str
) -> None:
    """The interval of the difference from the baseline is without 0 in both: of seven that is to be expected of one."""
    def loss(method: str, less: float) -> dict[str, Any]:
        nll = [100.0 - less + (0 if method == "base" else (-1) ** item) for item in range(60)]
        items = {"perplexity": {"item": list(range(60)), "nll": nll, "tokens": [100] * 60}}
        return synthetic.record("eval", method, task="perplexity", metrics={"loss": sum(nll) / 6000}, items=items)

    others = [loss(f"lora{place}", -1.0) for place in range(5)]
    text = headlines(compose(content([loss("base", 0.0), *others, loss("lora5", better)])))
    assert said in text and ("by chance" in text) is (better == 0.3)


def test_markdown_is_the_golden_one(document: Document) -> None:
    path = GOLDEN / "README.md"
    text = markdown(document)
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), "run with UPDATE_GOLDEN=1 if the change is meant, and look at the difference"


def test_sections_come_in_reading_order(document: Document) -> None:
    assert [one.title for one in document.sections] == [
        "Explore", "Decide", "Results", "Compression and distance from the reference",
        "What compression costs and gives", "Training",
        "Speed of generation",
        "Quality against memory and speed", "Time ledger and memory by span", "Validity flags", "Noise of this machine",
        "Machine, versions and commands", "How each metric is measured", "Notes on data and models",
    ]  # fmt: skip


def test_every_planned_cell_appears_with_how_it_ended(document: Document, synthetic: ModuleType) -> None:
    shown = {(one.values[0].text, one.values[0].note) for table in tables(document, "Results") for one in table.rows}
    assert shown == {(cell["method"], cell["precision"]) for cell in synthetic.plan(METHODS)["cells"]}
    main = tables(document, "Results")[0]
    crashed, skipped, waiting = (row(main, name) for name in ("int4(format=fp4)", "gptq", "lora(rank=64)"))
    assert crashed.values[1].text == "crashed" and "Segmentation fault" in crashed.values[2].text
    assert skipped.values[1].text == "skipped" and "harness env sync gptq" in skipped.values[2].text
    assert waiting.values[1].text == "not run yet"


def test_the_baseline_stands_first(document: Document) -> None:
    assert [one.values[0].text for one in tables(document, "Results")[0].rows][:2] == ["base", "base"]
    assert tables(document, "Results")[0].rows[0].kind == "baseline"


def test_missing_numbers_are_dashes(synthetic: ModuleType) -> None:
    records = [
        synthetic.record("eval", "base", task="perplexity", metrics={"loss": 2.0, "bits_per_byte": 1.0}),
        synthetic.record("eval", "int8", task="choice", metrics={"choice_accuracy": 0.5}),
    ]
    table = tables(compose(content(records)), "Results")[0]
    heads = [column.title for column in table.columns]
    assert row(table, "base").values[heads.index("Choice accuracy")].text == "-"
    assert row(table, "int8").values[heads.index("Bits per byte")].text == "-"
    assert row(table, "base").values[heads.index("Size on disk")].text == "-"


def test_headline_says_what_is_best_and_what_is_tied(document: Document) -> None:
    text = headlines(document)
    assert "Best loss per token on perplexity(view=instructions): lora at fp32" in text
    assert "int8 0.00059 < int4 0.049 (intervals apart)" in text
    assert "int8 hardly moves perplexity" in text and "int8 1.43x smaller (not 2x)" in text
    assert "chance is 25 %" in text and "1 failed, 1 skipped, 1 not run yet" in text


def test_headline_says_so_where_there_is_no_clear_difference(synthetic: ModuleType) -> None:
    right = [1] * 50 + [0] * 50
    other = [*right[:49], 0, 1, *right[51:]]
    records = [
        synthetic.record(
            "eval", method, task="choice", metrics={"choice_accuracy": sum(answers) / 100 + gain},
            items={"choice": {"item": list(range(100)), "correct": answers}},
        )
        for method, answers, gain in (("base", right, 0.0), ("lora", other, 0.001))
    ]  # fmt: skip
    text = headlines(compose(content(records)))
    assert "No clear difference from the baseline in choice accuracy on choice" in text and "Best" not in text


def test_overlapping_divergences_are_not_called_apart(synthetic: ModuleType) -> None:
    def divergence(method: str, values: list[float]) -> dict[str, Any]:
        ones = [1.0] * len(values)
        columns = {"window": list(range(len(values))), "nll": ones, "tokens": ones, "kl": values}
        metrics = {"loss": 1.0, "perplexity": 2.718, "kl_divergence": sum(values) / len(values)}
        return synthetic.record("eval", method, task="perplexity", metrics=metrics, items={"perplexity": columns})

    base = synthetic.record("eval", "base", task="perplexity", metrics={"loss": 1.0})
    text = headlines(compose(content([base, divergence("int8", [0.1, 0.9] * 9), divergence("int4", [0.2, 0.9] * 9)])))
    assert "not all of these intervals are apart" in text


def test_names_are_escaped_everywhere(synthetic: ModuleType) -> None:
    hostile = "</script><script>alert(1)</script>|`x`[y](javascript:1)"
    plan = {"suite": hostile, "question": hostile, "notes": hostile}
    record = synthetic.record(
        "eval", hostile, task="perplexity", metrics={"loss": 2.0, "bits_per_byte": 1.0}, flags=[hostile],
        spans=[{"name": hostile, "seconds": 1.0, "peak_memory_bytes": 5}], command=[hostile],
    )  # fmt: skip
    text = html(compose(content([record], plan)))
    body, scripts = re.split(r"</main>", text, maxsplit=1)
    assert "<script" not in body and "alert(1)" in body
    assert scripts.count("</script>") == 1 + scripts.count('type="application/json"')
    written = markdown(compose(content([record], plan)))
    outside = [line for line in written.splitlines() if not line.startswith("    ")]
    assert not any("<script" in line or "[y](" in line for line in outside)
    widths = {line.replace("\\|", "").count("|") for line in outside if line.startswith("|") and "nats" not in line}
    assert widths


def test_markdown_tables_have_as_many_cells_as_heads(document: Document) -> None:
    width = None
    for line in markdown(document).splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert width in (None, cells), line
        width = cells


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {str(given["id"])} if "id" in given else set()
        self.found += [str(given[name]) for name in ("href", "src") if given.get(name)]


def test_the_page_needs_nothing_but_itself(page: str, document: Document) -> None:
    links = _Links()
    links.feed(page)
    files = {figure.file for figure in document.figures()}
    assert document.up == "../index.html", "the way to all reports, which the command line writes beside them"
    assert all(link.startswith("#") or link in {*files, document.up} for link in links.found), links.found
    assert {link[1:] for link in links.found if link.startswith("#")} <= links.anchors
    assert "default-src 'none'" in page
    css = page.split("<style>", 1)[1].split("</style>", 1)[0]
    assert "url(" not in css and "@import" not in css and "prefers-color-scheme: dark" in css


def test_every_figure_has_its_specification_in_the_page(page: str, document: Document) -> None:
    figures = document.figures()
    assert len({figure.name for figure in figures}) == len(figures) >= 6
    for figure in figures:
        text = page.split(f'id="spec-{figure.name}">', 1)[1].split("</script>", 1)[0]
        assert json.loads(text) == figure.specification
        assert f'data-figure="{figure.name}"' in page
        assert not re.search(r'"url":', text)


def test_metrics_that_occur_are_explained(document: Document, whole: Content) -> None:
    told = {one.values[0].note: one.values[3].text for one in tables(document, "How each metric is measured")[0].rows}
    known = set(whole.frame["metric"].astype(str).unique()) - {"status"}
    assert set(told) == known and all(told[name] == METRICS[name].how for name in known)


def test_training_shows_falling_losses_and_three_rates(document: Document) -> None:
    table = tables(document, "Training")[0]
    first, last = (float(part) for part in row(table, "lora").values[5].text.split(" -> "))
    assert last < first
    assert [column.note for column in table.columns].count("loss-bearing") == 1
    # lora > int8 trains nothing of its own: the shared stage is shown once
    assert "lora > int8" not in [one.values[0].text for one in table.rows]


def test_machine_commit_dirt_and_flags(synthetic: ModuleType) -> None:
    clean = synthetic.record("eval", "base", task="choice", metrics={"choice_accuracy": 0.5})
    dirty = synthetic.record(
        "eval", "int8", task="choice", commit={"sha": "f" * 40, "dirty": True}, flags=["throttled", "swapping"]
    )
    found = compose(content([clean, dirty]))
    blocks = section(found, "Machine, versions and commands").blocks
    lines = next(block for block in blocks if isinstance(block, Bullets))
    assert "Commit ffffffffffff with uncommitted changes: 1 steps." in lines.items
    assert "Commit 5b8a01a05b8a: 1 steps." in lines.items
    assert [one.values[0].text for one in tables(found, "Validity flags")[0].rows] == ["swapping", "throttled"]
    facts = {one.values[0].text: one.values[1].text for one in tables(found, "Machine, versions and commands")[0].rows}
    assert facts["cpu model"] == "Example CPU 9000"


def test_flags_that_differ_in_a_number_are_one_line_with_its_range(synthetic: ModuleType) -> None:
    records = [
        synthetic.record("eval", method, task="choice", flags=[f"others used {share}% of 2 cores"])
        for method, share in (("base", 9), ("int8", 63), ("int4", 12.5))
    ]
    lines = tables(compose(content(records)), "Validity flags")[0].rows
    assert [(one.values[0].text, one.values[1].text) for one in lines] == [("others used 9-63% of 2 cores", "3")]


def test_other_installations_are_named_and_not_mixed_in(synthetic: ModuleType) -> None:
    ours = synthetic.record("eval", "base", task="perplexity", metrics={"loss": 2.0, "bits_per_byte": 1.0})
    theirs = synthetic.record(
        "eval", "base", task="perplexity", metrics={"loss": 9.0, "bits_per_byte": 5.0}, installation="elsewhere"
    )
    records = [ours, theirs]
    made = Content(frame_of(records), items_of(records), {}, facts_of(records), synthetic.INSTALLATION)
    found = compose(made)
    assert "Records of other installations are not used here: elsewhere." in markdown(found)
    assert [value.text for value in row(tables(found, "Results")[0], "base").values][2] == "1"


def test_unreadable_records_are_reported(whole: Content, synthetic: ModuleType) -> None:
    frame = frame_of(synthetic.records(("base",)))
    frame.attrs["unreadable"] = ["synthetic/x/1.json: not valid JSON"]
    found = compose(Content(frame, whole.items, {}, whole.facts))
    assert "1 records could not be read" in markdown(found) and "synthetic/x/1.json" in markdown(found)


def test_nothing_measured_is_still_a_report(synthetic: ModuleType) -> None:
    found = compose(content([], synthetic.plan(METHODS)))
    states = {one.values[1].text for table in tables(found, "Results") for one in table.rows}
    assert states == {"not run yet"} and "not run yet" in headlines(found)
    assert markdown(found) and html(found)


def test_same_rows_same_bytes_in_another_process(tmp_path: Path, synthetic: ModuleType) -> None:
    synthetic.write(tmp_path / "results", methods=("base", "lora"))
    here = build_suite(tmp_path / "results", "synthetic", tmp_path / "first")
    code = "import sys; from harness.report.build import build_suite; build_suite(*sys.argv[1:])"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    command = [sys.executable, "-c", code, str(tmp_path / "results"), "synthetic", str(tmp_path / "second")]
    subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[2])
    assert {path.name for path in here} >= {"index.html", "README.md", "curves-1.svg"}
    for path in here:
        assert path.read_bytes() == (tmp_path / "second" / path.relative_to(tmp_path / "first")).read_bytes(), path.name
        if path.suffix == ".svg":
            assert path.read_text().startswith("<svg") and "undefined" not in path.read_text()
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (tmp_path / "first" / "synthetic" / "README.md").read_text())
    assert links and all((tmp_path / "first" / "synthetic" / link).is_file() for link in links)
