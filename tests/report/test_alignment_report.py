"""The section on alignment says what the committed records say, computed here a second time from the raw records."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy
import pytest

from harness.report.alignment import alignment, alignment_in_words
from harness.report.build import content_of
from harness.report.content import Content
from harness.report.document import Figure, Table
from harness.report.numbers import plain, pretty
from harness.report.preferences import stages_of, technique_of

RESULTS = Path(__file__).resolve().parents[2] / "results"
RLHF = "sft > reward_model > ppo"


@pytest.fixture(scope="module")
def content() -> Content:
    return content_of(RESULTS, "alignment")


@pytest.fixture(scope="module")
def tables(content: Content) -> list[dict[str, dict[str, tuple[str, str]]]]:
    """The section's tables: (text, note) by method and by the column's title and note."""
    section = alignment(content)
    assert section is not None
    return [
        {
            row.values[0].text: {
                f"{column.title}|{column.note}": (value.text, value.note)
                for column, value in zip(block.columns, row.values, strict=True)
            }
            for row in block.rows
        }
        for block in section.blocks if isinstance(block, Table)
    ]  # fmt: skip


def records(method: str, operation: str, task: str | None = None) -> list[dict[str, Any]]:
    paths = [path for path in (RESULTS / "alignment").glob("*/*.json") if path.name != "plan.json"]
    found = [json.loads(path.read_text()) for path in paths]
    kept = [
        one for one in found
        if one["status"] == "done" and one["operation"] == operation and one["coordinates"]["method"] == method
        and (task is None or one["coordinates"]["task"].startswith(task))
    ]  # fmt: skip
    return sorted(kept, key=lambda one: one["coordinates"]["seed"] or 0)


def full(short: str) -> str:
    """The method of the records that the report calls ``short``."""
    every = (json.loads(path.read_text()) for path in (RESULTS / "alignment").glob("*/*.json"))
    methods = {one["coordinates"]["method"] for one in every if "coordinates" in one}
    names = short.split(" > ")
    whole = [one for one in sorted(filter(None, methods)) if "half" not in one]
    return next(one for one in whole if [technique_of(stage) for stage in stages_of(one)] == names)


def validation(record: dict[str, Any]) -> float:
    """Seconds of validating while training, which is no cost of a method."""
    return sum(span["seconds"] for span in record["spans"] if span["name"] == "evaluate")


def columns(row: dict[str, tuple[str, str]], start: str) -> tuple[str, str]:
    return next(value for key, value in row.items() if key.startswith(start))


@pytest.mark.parametrize("short", ["sft > dpo", RLHF])
def test_wins_by_hand(content: Content, tables: Any, short: str) -> None:
    own, before = (records(full(name), "eval", "judged") for name in (short, "sft"))
    assert len(own) == len(before) == 3
    rewards = [[numpy.array(one["items"]["judged"]["judge_reward"]) for one in ran] for ran in (own, before)]
    gaps = [first - second for first, second in zip(*rewards, strict=True)]
    share = numpy.mean([(gap > 0) + 0.5 * (gap == 0) for gap in gaps])
    assert columns(tables[0][short], "Wins")[0] == pretty(float(share), "share", 3)
    assert any(said.startswith(f"{short}: the judge prefers") for said in alignment_in_words(content))


def test_what_rlhf_costs_is_the_sum_of_its_stages(tables: Any) -> None:
    trained = [records(full(name), "train") for name in ("sft > reward_model", RLHF)]
    seconds = [statistics.mean(one["metrics"]["wall_seconds"] - validation(one) for one in ran) for ran in trained]
    row = tables[1][RLHF]
    assert columns(row, "Seconds")[0] == pretty(sum(seconds), "s", 3)
    pairs = statistics.mean(one["metrics"]["preference_pairs_seen"] for one in trained[0])
    episodes = statistics.mean(one["metrics"]["episodes"] for one in trained[1])
    assert columns(row, "Pairs seen") == (plain(pairs), plain(episodes))
    assert columns(tables[1]["sft > dpo"], "Pairs seen")[0] == plain(pairs), "both learn from equally many pairs"
    peak = max(
        statistics.mean(one["metrics"]["peak_memory_bytes"] for one in ran) for ran in trained
    )  # fmt: skip
    assert columns(row, "Peak memory")[0] == pretty(peak, "B", 3)


def test_the_two_rewards_stand_side_by_side(tables: Any) -> None:
    judged = records(full(RLHF), "eval", "judged")
    for start, metric in (("Training reward", "training_reward"), ("Judge", "judge_reward")):
        mean = statistics.mean(one["metrics"][metric] for one in judged)
        assert columns(tables[0][RLHF], start)[0] == pretty(mean)
    before = records(full("sft > reward_model"), "eval", "judged")
    gained = statistics.mean(one["metrics"]["training_reward"] for one in judged)
    assert gained > statistics.mean(one["metrics"]["training_reward"] for one in before), "PPO raised what it was paid"


def test_generation_and_scoring_are_told_apart_from_steps(tables: Any) -> None:
    for one in records(full(RLHF), "train"):
        spans = {span["name"]: span["seconds"] for span in one["spans"]}
        steps = sum(one["optimizer_steps"]["seconds"])
        assert steps == pytest.approx(spans["train"], rel=0.05) and spans["generate"] > 0 and spans["reward"] > 0
        metrics = one["metrics"]
        assert metrics["trained_answer_tokens"] == 4 * metrics["generated_training_tokens"], "four epochs of each"
        assert sum(one["optimizer_steps"]["loss_tokens"]) == metrics["trained_answer_tokens"]
    assert " generation" in columns(tables[1][RLHF], "Time of PPO")[0]


def test_reward_models_by_themselves(tables: Any) -> None:
    scored = records(full("sft > reward_model"), "eval", "preference")
    row = tables[2]["sft > reward_model"]
    mean = statistics.mean(one["metrics"]["preference_calibration_error"] for one in scored)
    assert columns(row, "Calibration error")[0] == pretty(mean, "share", 3)
    assert columns(row, "Preference accuracy")[0] == columns(tables[0]["sft > reward_model"], "Preference accuracy")[0]


def test_seeds_and_the_curve_are_shown(content: Content, tables: Any) -> None:
    section = alignment(content)
    assert section is not None and sum(isinstance(block, Figure) for block in section.blocks) == 1
    assert columns(tables[3][RLHF], "Seeds") == ("3", "none diverged")
    lowest, highest = (pick(one["metrics"]["kl_from_reference"] for one in records(full(RLHF), "eval", "judged"))
                       for pick in (min, max))  # fmt: skip
    assert columns(tables[3][RLHF], "KL")[0] == f"{plain(lowest, 3)} to {plain(highest, 3)}"


def test_a_chain_within_a_parameter_is_no_stage() -> None:
    assert stages_of("sft > ppo(reward=(sft > reward_model))") == ["sft", "ppo(reward=(sft > reward_model))"]
    assert technique_of("dpo(rank=8) + gradient_accumulation(steps=2)") == "dpo"
