from __future__ import annotations

import re

import pytest

from harness.errors import SuiteError
from harness.plan.cells import Cell, cell_id, expand
from harness.plan.suite import load_text


def cells(text):
    return [point.cell for point in expand(load_text(text))]


def test_the_first_axis_of_the_file_varies_slowest():
    text = "precision: [fp32, bf16]\nmethod: [base, int8]\n"
    assert [(cell.precision, cell.method) for cell in cells(text)] == [
        ("fp32", "base"), ("fp32", "int8"), ("bf16", "base"), ("bf16", "int8"),
    ]  # fmt: skip
    text = "method: [base, int8]\nprecision: [fp32, bf16]\n"
    assert [(cell.method, cell.precision) for cell in cells(text)] == [
        ("base", "fp32"), ("base", "bf16"), ("int8", "fp32"), ("int8", "bf16"),
    ]  # fmt: skip


def test_seeds_repeat_only_what_learns():
    found = cells("method: [base, int8, bpe, lora, lora > int8]\nseed: [0, 1]\nbudget: {steps: 5}\n")
    assert [(cell.method, cell.seed) for cell in found] == [
        ("base", None), ("int8", None), ("bpe", None),
        ("lora", 0), ("lora", 1), ("lora > int8", 0), ("lora > int8", 1),
    ]  # fmt: skip


def test_two_ways_to_write_a_method_are_one_cell():
    assert len(cells("method: [lora, lora(rank=8), base > lora]\nbudget: {steps: 5}\n")) == 1


def test_cells_are_hashable_and_their_id_is_that_of_their_coordinates():
    cell = Cell("lora", "embedded", "source", "fp32", "cpu", 0)
    assert cell in {Cell("lora", "embedded", "source", "fp32", "cpu", 0)}
    assert cell.id == cell_id("lora", "embedded", "source", "fp32", "cpu", 0)
    others = {cell_id("lora", "embedded", "source", "fp32", "cpu", seed) for seed in (None, 1)}
    assert len(cell.id) == 12 and cell.id not in others


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("{method: int8}", 4),
        ("{uses: int8}", 2),
        ("{uses: int8, precision: fp32}", 4),
        ("{uses: [int8, lora]}", 4),
        ("{precision: [fp32, bf16]}", 0),
        ("{method: base, seed: 0}", 6),
        ("{method: lora(rank=8) > int8, seed: 0}", 4),
        ("{model: embedded, data: source, hardware: cpu, method: [base, int8]}", 2),
    ],
)
def test_a_rule_matches_when_every_key_does(rule, left):
    text = (
        "method: [base, int8, lora > int8]\nprecision: [fp32, bf16]\nseed: 0\nbudget: {steps: 5}\n"
        f"exclude: [{rule}]\n"
    )
    if left:
        assert len(cells(text)) == left
    else:
        with pytest.raises(SuiteError, match="nothing is left to measure"):
            cells(text)


def test_one_cell_of_two_sweeps_is_one_cell_with_the_tasks_of_both():
    text = "sweeps:\n  - {method: base, tasks: [choice]}\n  - {method: base, tasks: [choice, perplexity]}\n"
    points = expand(load_text(text))
    assert len(points) == 1
    assert len(points[0].sweeps) == 2


def test_two_budgets_for_one_cell_are_refused():
    text = "method: {}\nsweeps:\n  - {{budget: {{steps: 5}}}}\n  - {{budget: {{steps: 6}}}}\n"
    with pytest.raises(SuiteError, match="two sweeps give 'lora' different budgets"):
        cells(text.format("lora"))
    assert len(cells(text.format("int8"))) == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "[fp32, bf16-mixed]"])
def test_mixed_precision_is_the_precision_by_another_name(planned, precision):
    text = f"method: [lora + mixed_precision, lora]\nprecision: {precision}\nbudget: {{steps: 5}}\ntasks: choice\n"
    plan = planned(text)
    cells = {(cell.method, cell.precision) for cell in plan.cells}
    assert cells == {("lora", "bf16-mixed")} | ({("lora", "fp32")} if "fp32" in precision else set())
    named = planned("method: lora\nprecision: bf16-mixed\nbudget: {steps: 5}\ntasks: choice\n")
    assert {step.id for step in named.steps} <= {step.id for step in plan.steps}


@pytest.mark.parametrize(
    ("method", "precision", "message"),
    [
        ("lora + mixed_precision", "bf16", "'lora + mixed_precision' is at bf16-mixed, which contradicts"),
        ("lora + mixed_precision(dtype=fp16)", "bf16-mixed", "is at fp16-mixed, which contradicts"),
        ("lora + mixed_precision > full_finetune", "fp32", "one precision for every stage that trains"),
    ],
)
def test_a_contradiction_of_precisions_is_one_line(planned, method, precision, message):
    with pytest.raises(SuiteError, match=re.escape(message)):
        planned(f"method: {method}\nprecision: {precision}\nbudget: {{steps: 5}}\n")


def test_modifiers_that_do_not_fit_the_budget_say_why(planned):
    plan = planned("method: lora + gradient_accumulation(steps=3)\nbudget: {steps: 5, batch_size: 8}\ntasks: choice\n")
    reason = "gradient_accumulation: 3 steps do not divide a batch of 8 sequences"
    assert {step.reason for step in plan.steps if step.cells} == {reason}
