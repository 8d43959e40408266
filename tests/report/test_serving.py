"""The section on serving: every number by hand from records, and none of it where nothing of serving was measured."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.report.build import compose, content_of
from harness.report.content import Content
from harness.report.document import Bullets, Figure, Section, Table
from harness.report.served import by_batch, by_length, further_request, merges
from harness.report.serving import serving
from harness.report.serving_words import serving_in_words
from harness.results.facts import facts_of
from harness.results.items import items_of
from harness.results.rows import frame_of

MIB = 2**20
# Tokens per second at batches of 1, 4 and 16: the second doubling twice of each gains little.
RATES = {"base": (100.0, 320.0, 400.0), "lora": (50.0, 180.0, 380.0), "lora > merge": (100.0, 300.0, 385.0)}
BATCHES = {1: "generation_speed", 4: "generation_speed(batch=4)", 16: "generation_speed(batch=16)"}
READ = 128 + 48 - 1


def spoken(
    synthetic: ModuleType, method: str, task: str, rate: float, kept: float, expected: float, **axes: Any
) -> Any:
    rates = [0.99 * rate, rate, 1.01 * rate]
    metrics = {
        "decode_tokens_per_second": rate, "inter_token_latency_seconds": axes.pop("batch") / rate,
        "time_to_first_token_seconds": axes.pop("first", 0.1), "key_value_bytes": kept,
        "key_value_bytes_per_token": axes.pop("per_token"), "expected_key_value_bytes": expected,
        "peak_memory_rise_bytes": axes.pop("peak", 40.0 * MIB),
    }  # fmt: skip
    samples = {"decode_tokens_per_second": rates}
    return synthetic.record("eval", method, task=task, metrics=metrics, samples=samples, **axes)


def batches(synthetic: ModuleType) -> list[Any]:
    found = []
    for method, rates in RATES.items():
        seed = None if method == "base" else 0
        for (batch, task), rate in zip(BATCHES.items(), rates, strict=True):
            kept = 4096.0 * batch * READ
            found.append(spoken(synthetic, method, task, rate, kept, kept, batch=batch, per_token=4096.0, seed=seed,
                                peak=(40.0 + 3 * (batch - 1)) * MIB))  # fmt: skip
    made = {"logit_difference": 2e-5, "weight_bytes": 11.0 * MIB, "checkpoint_bytes": 11.0 * MIB}
    found.append(synthetic.record("compress", "lora > merge", seed=0, metrics=made))
    found.append(synthetic.record("train", "lora", seed=0, metrics={"weight_bytes": 6.0 * MIB, "optimizer_steps": 50}))
    return found


def lengths(synthetic: ModuleType) -> list[Any]:
    """A cache in 32 bits under 16-bit autocast: twice what arithmetic says."""
    return [
        spoken(synthetic, "base", f"generation_speed(prompt_tokens={prompt}, new_tokens=16)", 50.0, 2 * half, half,
               batch=1, per_token=2 * half / (prompt + 15), first=prompt / 1000, model="long", precision="bf16-mixed")
        for prompt in (500, 2000, 8000) for half in (1024.0 * (prompt + 15),)
    ]  # fmt: skip


def content_from(records: list[Any]) -> Content:
    plan = {"suite": "synthetic", "question": "What does serving take?", "baseline": "base"}
    return Content(frame_of(records), items_of(records), plan, facts_of(records))


@pytest.fixture(scope="module")
def content(synthetic: ModuleType) -> Content:
    return content_from([*batches(synthetic), *lengths(synthetic)])


@pytest.fixture(scope="module")
def section(content: Content) -> Section:
    found = serving(content)
    assert found is not None
    return found


def rows(section: Section, number: int) -> dict[str, list[tuple[str, str]]]:
    """Cells after the first of a table's rows, by method (the last row of several)."""
    table = [block for block in section.blocks if isinstance(block, Table)][number]
    return {row.values[0].text: [(value.text, value.note) for value in row.values[1:]] for row in table.rows}


def test_rates_over_the_batch(section: Section) -> None:
    found = rows(section, 0)
    assert found["base"] == [("100", "10 ms"), ("320", "12.5 ms"), ("400", "40 ms")]
    assert set(found) == set(RATES)


def test_what_a_request_keeps_and_what_a_further_one_takes(section: Section) -> None:
    kept = ("4 KiB", ""), ("4 KiB", ""), ("700 KiB", ""), (f"{2**30 // (4096 * READ):,}".replace(",", " "), "")
    assert rows(section, 1)["base"] == [*kept, ("40 MiB", ""), ("85 MiB", ""), ("3 MiB", "")]


def test_lengths_of_the_prompt(section: Section) -> None:
    assert [text for text, _ in rows(section, 2)["base"]] == [
        "8 000", "8 s", "20 ms", "50", "15.7 MiB", "2 x", "40 MiB",
    ]  # fmt: skip


def test_merging(section: Section) -> None:
    (found,) = rows(section, 3).values()
    assert [text for text, _ in found] == ["2 x", "1.67 x", "1.01 x", "2e-5", "11 MiB", "6 MiB"]
    assert found[0][1].startswith("[1.9")


def test_the_sentences(content: Content) -> None:
    said = " ".join(serving_in_words(content))
    assert "base (fp32) decodes most at batch 16, the largest that was tried: 400 token/s, 4 x those of batch 1" in said
    assert "a request then waits 40 ms for each token instead of 10 ms. Beyond batch 4 a doubling gives less" in said
    assert "A request of 128 + 48 tokens keeps 700 KiB of keys and values (4 KiB a token); at the peak" in said
    assert "A prompt of 8 000 tokens on long: base (bf16-mixed): 8 s to the first token (16 x that of 500)" in said
    assert "lora > merge (fp32) decodes 2 x at batch 1 and 1.01 x (no difference can be told) at batch 16" in said
    assert "no logit moved by more than 2e-5, so that it is the same function" in said
    assert "Most of all methods" not in said and "More than arithmetic" not in said


def test_the_report_opens_with_them_and_has_the_picture(content: Content) -> None:
    document = compose(content)
    (opening,) = (block for block in document.opening if isinstance(block, Bullets))
    assert any("decodes most at batch 16" in line for line in opening.items)
    (found,) = (one for one in document.sections if one.title == "Serving")
    (picture,) = (block for block in found.blocks if isinstance(block, Figure))
    assert picture.file == "figures/serving-1.svg"


def test_a_runtime_that_was_stopped_at_small_batches_is_told_by_those(synthetic: ModuleType) -> None:
    few = [one for one in batches(synthetic)
           if one["coordinates"]["method"] != "lora" or "16" not in str(one["coordinates"]["task"])]  # fmt: skip
    found = content_from(few)
    (series,) = by_batch(found)
    lora = next(one for one in series.groups if one.key[0] == "lora")
    assert further_request(found, lora, series) == 3 * MIB
    made = serving(found)
    assert made is not None and rows(made, 0)["lora"][2] == ("-", "") and rows(made, 1)["lora"][2] == ("700 KiB", "")


def test_a_single_load_is_no_question_of_serving(synthetic: ModuleType) -> None:
    alone = [one for one in batches(synthetic) if one["coordinates"]["method"] == "base"][:1]
    found = content_from(alone)
    assert serving(found) is None and serving_in_words(found) == [] and not by_length(found) and not merges(found)


def test_committed_reports_have_no_such_section() -> None:
    results = Path(__file__).resolve().parents[2] / "results"
    assert serving(content_of(results, "quick")) is None
