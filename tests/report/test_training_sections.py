"""The sections on training say what the committed records say, computed here a second time from the raw records."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from harness.report import memory as report_memory
from harness.report.alignment import alignment
from harness.report.build import compose, content_of
from harness.report.content import Content
from harness.report.document import Section, Table
from harness.report.forgetting import forgetting
from harness.report.growth import growth, growth_in_words
from harness.report.limits import limits
from harness.report.lora_settings import lora_in_words, lora_settings
from harness.report.memory import compiled_in_words, memory, memory_in_words
from harness.report.numbers import plain, pretty
from harness.report.optimisations import optimisations, optimisations_in_words, partner
from harness.report.pages import markdown
from harness.report.ranks import ranks, ranks_in_words
from harness.report.students import students, students_in_words
from harness.report.tuning import tuning

RESULTS = Path(__file__).resolve().parents[2] / "results"
# Whose reports are written again in every run of the tests; between them they have most sections.
BUILT = {"quick", "claims", "finetuning", "alignment", "nightly", "serving"}
SECTIONS = (tuning, alignment, forgetting, lora_settings, limits, memory, optimisations, growth, ranks, students)
HAS = {
    "finetuning": {tuning, forgetting, memory}, "lora": {tuning, lora_settings, memory}, "frontier": {limits},
    "efficiency": {memory, optimisations, growth}, "attention": {growth}, "zero": {memory, ranks},
    "distillation": {tuning, forgetting, memory, students}, "alignment": {alignment}, "alignment_local": {alignment},
    "memory": {memory},
}  # fmt: skip


class Contents(dict[str, Content]):
    """The committed suites by name, each read when it is asked for."""

    def __missing__(self, suite: str) -> Content:
        self[suite] = content_of(RESULTS, suite)
        return self[suite]


@pytest.fixture(scope="module")
def content() -> dict[str, Content]:
    return Contents()


def records(suite: str, method: str, operation: str = "train", **axes: Any) -> list[dict[str, Any]]:
    """Committed records whose method is ``method``, by the seed."""
    kept = [
        one for one in _all(suite)
        if one["operation"] == operation and one["coordinates"]["method"] == method
        and all(one["coordinates"][name] == value for name, value in axes.items())
    ]  # fmt: skip
    assert kept, (suite, method, axes)
    return sorted(kept, key=lambda one: one["coordinates"]["seed"] or 0)


def table(section: Section | None, number: int = 0) -> list[dict[str, tuple[str, str]]]:
    """Rows of a section's table as (text, note) by the column's title and note."""
    assert section is not None
    found = [block for block in section.blocks if isinstance(block, Table)][number]
    heads = [f"{column.title}|{column.note}" for column in found.columns]
    cells = [[(value.text, value.note) for value in row.values] for row in found.rows]
    return [dict(zip(heads, row, strict=True)) for row in cells]


def seconds(record: dict[str, Any]) -> list[float]:
    steps = record["optimizer_steps"]
    return list(steps["seconds"][steps["warmup"] :])


@pytest.mark.parametrize("suite", HAS)
def test_a_report_has_the_sections_that_belong_to_its_suite(content: dict[str, Content], suite: str) -> None:
    assert {section for section in SECTIONS if section(content[suite]) is not None} == HAS[suite]


@pytest.mark.parametrize(
    "suite",
    [
        name if name in BUILT else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(path.parent.name for path in RESULTS.glob("*/rows.parquet"))
    ],
)
def test_a_committed_report_is_what_the_records_give(suite: str) -> None:
    """Whoever changes what a report says writes the committed ones anew: harness report SUITE.

    Whoever measured here too has records of two installations, one of which it is made from.
    """
    committed = (RESULTS.parent / "reports" / suite / "README.md").read_text()
    installations = sorted(path.parent.name for path in RESULTS.glob(f"{suite}/*/plan.json"))
    made = (markdown(compose(content_of(RESULTS, suite, one))) for one in installations)
    assert any(text == committed for text in made)


def test_compositions_are_answered_in_the_opening(content: dict[str, Content]) -> None:
    """By hand: the ten first losses of both trainings of each seed."""
    names = ("qlora(learning_rate=0.01) + gradient_checkpointing + flash_attention", "qlora(learning_rate=0.01)")
    kept = [records("efficiency", name, precision="bf16-mixed") for name in names]
    far = max(
        abs(a - b)
        for one, two in zip(*kept, strict=True)
        for a, b in zip(one["optimizer_steps"]["loss"][:10], two["optimizer_steps"]["loss"][:10], strict=True)
    )
    (said,) = [one for one in optimisations_in_words(content["efficiency"]) if one.startswith("Composed")]
    assert f"qlora + gradient_checkpointing + flash_attention at bf16-mixed {plain(far, 2)}." in said


def test_growth_by_hand(content: dict[str, Content]) -> None:
    methods = {one["coordinates"]["method"] for one in _all("attention") if one["operation"] == "train"}
    method = next(one for one in methods if "sequence_length=4096" in one and one.endswith("flash_attention"))
    (flash,), (eager,) = records("attention", method), records("attention", f"{method}(kernel=eager)")
    row = next(row for row in table(growth(content["attention"])) if row["Sequence length|"][0] == "4 096")
    ratio = statistics.median(seconds(flash)) / statistics.median(seconds(eager))
    assert row["flash, ratio|optimiser step"][0] == f"{plain(ratio, 3)} x" and ratio < 0.5
    peaks = [one["metrics"]["peak_memory_rise_bytes"] for one in (flash, eager)]
    assert row["flash, ratio|peak memory"] == (f"{plain(peaks[0] / peaks[1], 3)} x", pretty(peaks[0], "B", 3))
    fits = {row["Series|"][0]: row for row in table(growth(content["attention"]), 1)}
    assert float(fits["eager"]["Exponent|optimiser step"][0]) > 1.7
    assert any("flash against eager: a step is faster from " in said for said in growth_in_words(content["attention"]))


def test_losses_of_ranks_are_set_beside_one_process(content: dict[str, Content]) -> None:
    methods = {one["coordinates"]["method"] for one in _all("zero") if one["operation"] == "train"}
    third = next(one for one in methods if one.endswith("zero(stage=3)"))
    (alone,) = records("zero", third.partition(" + ")[0], hardware="cpu(threads=2)")
    (divided,) = records("zero", third)
    losses = [one["optimizer_steps"]["loss"] for one in (alone, divided)]
    gaps = [abs(a - b) for a, b in zip(*losses, strict=True)]
    row = next(row for row in table(ranks(content["zero"])) if "stage=3" in row["Method|precision · hardware"][0])
    assert row["Distance of losses|first 10 steps"] == (plain(max(gaps[:10]), 2), f"all steps {plain(max(gaps), 2)}")
    assert max(gaps) < 1e-4
    kept = divided["metrics"]
    assert row["Optimiser state|per rank"][0] == pretty(kept["rank_optimizer_bytes"], "B", 3)
    assert kept["rank_optimizer_bytes"] == pytest.approx(6 * alone["metrics"]["parameters"], rel=0.01)
    assert "zero(stage=3)" in ranks_in_words(content["zero"])[0]


def test_what_was_learned_and_forgotten_is_the_paired_difference(content: dict[str, Content]) -> None:
    rows = {row["Method|precision"][0]: row for row in table(forgetting(content["finetuning"]))}
    assert set(rows) == {"full_finetune", "lora", "qlora", "prefix_tuning", "bottleneck_adapter"}
    axes = {"precision": "bf16-mixed", "task": "perplexity"}
    (base,) = records("finetuning", "base", "eval", **axes)
    methods = {one["coordinates"]["method"] for one in _all("finetuning") if one["coordinates"]["technique"] == "lora"
               and one["operation"] == "eval"}  # fmt: skip
    (method,) = methods
    after = [one["metrics"]["bits_per_byte"] for one in records("finetuning", method, "eval", **axes)]
    forgotten = statistics.mean(after) - base["metrics"]["bits_per_byte"]
    said = float(rows["lora"]["Forgotten|bits per byte, running text"][0])
    assert len(after) == 2 and said == pytest.approx(forgotten, abs=2e-4) and said > 0


def test_ranks_of_lora_are_compared_over_seeds(content: dict[str, Content]) -> None:
    said = lora_in_words(content["lora"])
    assert [one.split(":")[0] for one in said] == ["Rank 8 against rank 64", "Rank 16 against rank 64"]
    rows = table(lora_settings(content["lora"]))
    assert {row["Rank|"][0] for row in rows} == {"1", "4", "8", "16", "64"}
    chosen = {trial["method"]: trial["of"] for trial in content["lora"].plan["trials"] if trial["chosen"]}
    values = {
        rank: [one["metrics"]["bits_per_byte"] for one in records("lora", chosen[name], "eval")]
        for rank, name in ((8, "lora"), (64, "lora(rank=64)"))
    }
    difference = statistics.mean(a - b for a, b in zip(values[8], values[64], strict=True))
    shown = float(said[0].split(": ")[1].split(" ")[0].replace("+", ""))
    assert len(values[8]) == 3 and shown == pytest.approx(difference, abs=abs(difference) * 0.01 + 1e-6)


def test_a_modified_training_is_set_beside_the_plain_one(content: dict[str, Content]) -> None:
    every = content["efficiency"].outcomes
    by_name = {(one.key[0], one.key[1], one.key[3]): one for one in every}
    pairs = {name: found.key[3] for name, one in by_name.items() if (found := partner(one, every)) is not None}
    plain_ones = {name for name in by_name if " + " not in name[0]}
    assert plain_ones & set(pairs) == {name for name in plain_ones if name[2] != "fp32"} - {
        name for name in plain_ones if name[0].startswith("qlora")
    }
    composed = next(name for name in pairs if name[0].endswith("gradient_checkpointing + gradient_accumulation"))
    assert pairs[composed] == "bf16-mixed", "beside the plain training at its own precision"
    rows = table(optimisations(content["efficiency"]))
    checkpointed = next(row for row in rows if row["Method|precision"][0].endswith("+ gradient_checkpointing"))
    assert checkpointed["Distance of losses|first 10 steps"] == ("0", "all steps 0"), "recomputation is the same"


def test_the_frontier_of_every_method_is_what_its_probes_found(content: dict[str, Content]) -> None:
    for one in _all("frontier"):
        if one["operation"] != "eval":
            continue
        probes = one["observed"]["probes"]
        largest = max(probe["size"] for probe in probes if probe["status"] == "done")
        told = one["metrics"].get("largest_batch", one["metrics"].get("longest_sequence"))
        assert told == largest and all(probe["size"] > largest for probe in probes if probe["status"] != "done")
    rows = table(limits(content["frontier"]))
    assert len(rows) == 5 and rows[0]["Ratio|"][0] == "1 x"


def test_what_a_teacher_added_is_the_difference_to_the_same_student_alone(content: dict[str, Content]) -> None:
    here = content["distillation"]
    chosen = {trial["method"]: trial["of"] for trial in here.plan["trials"] if trial["chosen"]}
    rows = {row["Method|precision"][0]: row for row in table(students(here))}
    taught, alone_ = "distillation(layers=2)", "distillation(layers=2, alpha=0.0)"
    means = {
        name: statistics.mean(one["metrics"]["bits_per_byte"] for one in records(
            "distillation", chosen[name], "eval", task="perplexity"))
        for name in (taught, alone_)
    }  # fmt: skip
    added = float(rows[taught]["Added by the teacher|against the control"][0])
    assert added == pytest.approx(means[taught] - means[alone_], abs=2e-4)
    assert rows[alone_]["Added by the teacher|against the control"] == ("-", "")
    assert rows[taught]["Begins with|teacher's layers"][0] == "0, 3"
    assert any(said.startswith("distilbert(layers=2) at") or taught in said for said in students_in_words(here))


def _all(suite: str) -> list[dict[str, Any]]:
    """The last done attempt of every step, of the installation that measured last."""
    found = [json.loads(path.read_text()) for path in sorted((RESULTS / suite).glob("*/*.*.json"))]
    done = sorted((one for one in found if one["status"] == "done"), key=lambda one: one["started"])
    here = [one for one in done if one["environment"]["installation"] == done[-1]["environment"]["installation"]]
    return list({one["step"]: one for one in here}.values())


def test_memory_is_what_was_measured_beside_what_was_predicted(content: dict[str, Content]) -> None:
    measured = [one for one in _all("memory") if "tensor_memory_bytes" in one["metrics"]]
    tables = [block for block in memory(content["memory"]).blocks if isinstance(block, Table)]  # type: ignore[union-attr]
    assert sum(len(one.rows) for one in tables) == len(measured) >= 40
    (record,) = [one for one in measured if one["coordinates"]["method"] == "qlora + gradient_checkpointing"]
    row = next(row for number in range(len(tables)) for row in table(memory(content["memory"]), number)
               if row["Method|precision"][0] == "qlora + gradient_checkpointing")  # fmt: skip
    metrics, parts = record["metrics"], record["observed"]["predicted_memory"]["parts"]
    assert row["Weights|"][0] == pretty(parts["weights"], "B", 3)
    assert row["Predicted|at once"][0] == pretty(metrics["predicted_memory_bytes"], "B", 3)
    assert row["Measured|of tensors"][0] == pretty(metrics["tensor_memory_bytes"], "B", 3)
    error = metrics["predicted_memory_bytes"] / metrics["tensor_memory_bytes"] - 1
    assert row["Error|"][0] == f"{error:+.1%}" and abs(error) < 0.1
    said = memory_in_words(content["memory"])
    assert f"in {len(measured)} of {len(measured)} trainings" in said[0]
    heaps = [one["metrics"]["training_memory_bytes"] / one["metrics"]["tensor_memory_bytes"] for one in measured]
    assert f"{plain(min(heaps), 3)} to {plain(max(heaps), 3)} times" in said[1]


def test_peaks_that_are_compiled_programs_rank_nothing(
    content: dict[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 16 bits on a CPU where lengths differ; in 32 bits, with full blocks or where tensors were measured never."""
    trained = [one for one in _all("lora") if one["operation"] == "train" and one["coordinates"]["seed"] in (0, 1, 2)]
    peaks: dict[str, list[float]] = {}
    for one in trained:
        times = one["metrics"]["training_memory_bytes"] / one["metrics"]["predicted_memory_bytes"]
        peaks.setdefault(one["coordinates"]["method"], []).append(times)
    means = sorted(sum(times) / len(times) for times in peaks.values())
    (said,) = compiled_in_words(content["lora"])
    assert said.startswith(f"Peaks of training of {len(means)} methods in 16 bits") and means[0] > 3
    assert f"need: {plain(means[0], 3)} to {plain(means[-1], 3)} times" in said
    assert [compiled_in_words(content[name]) for name in ("memory", "zero", "alignment")] == [[], [], []]
    monkeypatch.setattr(report_memory, "MOSTLY_OTHER", 0.0)
    said = compiled_in_words(content["efficiency"])[0]
    assert said.startswith("Peaks of training of 2 methods"), "qlora's: batches of the others are full"
