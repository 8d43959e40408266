"""The section on objectives and curves at equal seconds: every number against the records, by hand."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from harness.report.build import compose
from harness.report.content import Content
from harness.report.document import Bullets, Document, Figure, Table
from harness.report.equal_seconds import validated
from harness.results.facts import facts_of
from harness.results.items import items_of
from harness.results.rows import frame_of

RIGHT = [1, 1, 1, 1, 0, 0, 0, 0]


def trained(synthetic: ModuleType, method: str, model: str, tokens: float, curve: list[tuple[float, float]]) -> Any:
    metrics = {
        "optimizer_steps": 60, "train_tokens": tokens, "train_bytes": 3 * tokens, "tokens_per_second": 1000.0,
        "model_flops_per_token": 4.53e6, "parameters": 500_000, "peak_memory_bytes": 400 * 2**20,
    }  # fmt: skip
    points = [
        {"step": number, "train_tokens": 1000 * seconds, "train_seconds": seconds, "validation_loss": value}
        for number, (seconds, value) in enumerate(curve)
    ]
    return synthetic.record("train", method, model=model, seed=0, metrics=metrics, curve=points)


def probed(synthetic: ModuleType, method: str, model: str, correct: list[int]) -> list[Any]:
    correct = 8 * correct
    items = {"classification": {"item": list(range(len(correct))), "correct": correct}}
    metrics = {"classification_accuracy": sum(correct) / len(correct), "macro_f1": 0.1, "majority_share": 0.2}
    return [
        trained(synthetic, f"{method} > linear_probe", model, 100.0, [(0.0, 2.0), (1.0, 1.0)]),
        synthetic.record("eval", f"{method} > linear_probe", task="classification", model=model, seed=0,
                         metrics=metrics, items=items),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def document(synthetic: ModuleType) -> Document:
    canary = {"canary_matmul_seconds": 2 * 768**3 / 90.6e9, "canary_copy_seconds": 0.01}
    records = [
        trained(synthetic, "bpe > clm(tokens=20000)", "llama", 20_000.0, [(0.0, 7.0), (20.0, 5.0)]),
        trained(synthetic, "bpe > clm", "llama", 40_000.0, [(0.0, 7.0), (20.0, 5.0), (40.0, 4.0)]),
        trained(synthetic, "bpe > mlm(tokens=20000)", "bert", 20_000.0, [(0.0, 8.0), (20.0, 7.5)]),
        trained(synthetic, "bpe > mlm", "bert", 30_000.0, [(0.0, 8.0), (30.0, 7.0)]),
        *probed(synthetic, "bpe > clm(tokens=20000)", "llama", [1, 1, *[0] * 6]),
        *probed(synthetic, "bpe > clm", "llama", RIGHT),
        *probed(synthetic, "bpe > mlm(tokens=20000)", "bert", [1, *[0] * 7]),
        *probed(synthetic, "bpe > mlm", "bert", [0, *[1] * 5, 0, 0]),
        *probed(synthetic, "bpe", "bert", RIGHT),
        synthetic.record("canary", "x", metrics=canary),
    ]
    return compose(Content(frame_of(records), items_of(records), {}, facts_of(records)))


def section(document: Document, title: str) -> Any:
    return next(one for one in document.sections if one.title == title)


def table(document: Document, title: str, caption: str) -> dict[tuple[str, str], list[Any]]:
    found = next(block for block in section(document, title).blocks
                 if isinstance(block, Table) and block.caption.startswith(caption))  # fmt: skip
    return {(row.values[0].text, row.values[0].note): list(row.values[1:]) for row in found.rows}


def test_what_pre_training_cost(document):
    rows = table(document, "Objectives", "What pre-training cost")
    clm = rows["clm", "fp32 · llama"]
    assert [value.text for value in clm[:6]] == ["500 000", "0.120 MB", "40 000", "40 s", "1 000", "5 %"]
    assert clm[6].text == "400 MiB" and clm[7].text == "7 -> 4"
    assert set(rows) == {(f"{name}{budget}", f"fp32 · {model}") for name, model in (("clm", "llama"), ("mlm", "bert"))
                         for budget in ("", "(tokens=20000)")}  # fmt: skip


def test_what_it_is_good_for_with_marks_across_models(document):
    rows = table(document, "Objectives", "What it is good for")
    assert {name: (row[0].text, row[0].mark) for name, row in rows.items()} == {
        ("clm(tokens=20000)", "fp32 · llama"): ("25 %", ""), ("clm", "fp32 · llama"): ("50 %", "tied"),
        ("mlm(tokens=20000)", "fp32 · bert"): ("12.5 %", ""), ("mlm", "fp32 · bert"): ("62.5 %", "best"),
        ("none", "fp32 · bert"): ("50 %", "tied"),
    }  # fmt: skip


def test_at_equal_seconds_of_pre_training(document):
    """mlm ends after 30 s with 62.5 %; clm is then half way from 25 % (20 s) to 50 % (40 s)."""
    rows = table(document, "Objectives", "linear_probe at equal seconds")
    assert rows["clm", "fp32 · llama"][0].text == "37.5 %"
    assert (rows["mlm", "fp32 · bert"][0].text, rows["mlm", "fp32 · bert"][0].mark) == ("62.5 %", "best")
    picture = next(block for block in section(document, "Objectives").blocks if isinstance(block, Figure))
    data = next(iter(picture.specification["datasets"].values()))
    assert {(line["objective"], line["seconds"], line["value"]) for line in data} == {
        ("clm · llama", 20.0, 0.25), ("clm · llama", 40.0, 0.5),
        ("mlm · bert", 20.0, 0.125), ("mlm · bert", 30.0, 0.625),
    }  # fmt: skip


def test_the_answer_is_one_sentence_per_question(document):
    sentences = next(block for block in document.opening if isinstance(block, Bullets)).items
    tied = "tied with it: clm (llama), fresh weights (bert)"
    best, guess = "best from mlm (bert) with 62.5 %", "the commonest class alone is 20 %"
    once = "Trained methods have one seed: brackets of their differences are over the test items of these trainings"
    caution = f"{once}; another seed may order them differently."
    assert sentences[1:] == [f"Accuracy after linear_probe: {best}; {tied}; {guess}.", caution]


def test_curves_of_one_kind_are_read_at_equal_seconds(document):
    """Both clm runs: the shorter ends at 20 s with 5.0, where the longer stood at 5.0 too."""
    blocks = [block for block in section(document, "Training").blocks
              if isinstance(block, Table) and block.caption.startswith("At equal seconds")]  # fmt: skip
    clm = next(block for block in blocks if " · clm · " in block.caption)
    assert [[value.text for value in row.values] for row in clm.rows] == [
        ["bpe > clm(tokens=20000)", "20 s", "5", "5"], ["bpe > clm", "40 s", "4", "5"],
    ]  # fmt: skip
    assert {block.caption.split(" · ")[1] for block in blocks} == {"clm", "mlm", "labels"}


def test_losses_compare_by_objective_and_bits_per_byte_by_text():
    assert validated("clm(learning_rate=0.03)", "validation_bits_per_byte") == "text"
    assert validated("mlm(whole_word=true, steps=5)", "validation_loss") == "mlm(whole_word=true)"
    assert validated("mlm(steps=5)", "validation_loss") == "mlm"
    assert validated("full_finetune(view=labels)", "validation_loss") == "labels"
    assert validated("lora", "validation_bits_per_byte") == "instructions"
    assert validated("no such thing(", "validation_loss") == "no such thing("


def test_one_objective_alone_is_no_comparison(synthetic):
    records = probed(synthetic, "bpe > clm", "llama", RIGHT)
    found = compose(Content(frame_of(records), items_of(records), {}, facts_of(records)))
    assert "Objectives" not in [one.title for one in found.sections]
