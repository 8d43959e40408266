"""Per-item scores as one frame, and what records say besides numbers."""

from __future__ import annotations

from types import ModuleType

from harness.results.facts import facts_of
from harness.results.items import KEYS, items_of


def test_items_keep_their_names_and_their_missing_scores(synthetic: ModuleType) -> None:
    columns = {"window": [0, 1], "nll": [3.0, 4.0], "tokens": [2, 2], "kl": [0.5, None]}
    one = synthetic.record("eval", "int8", items={"perplexity": columns}, task="perplexity")
    two = synthetic.record("eval", "int8", items={"choice": {"item": [7, 9], "correct": [1, 0]}}, task="choice")
    frame = items_of([one, two])
    assert list(frame.columns[: len(KEYS)]) == list(KEYS)
    assert frame["item"].tolist() == ["0", "1", "7", "9"]
    assert frame["nll"].tolist()[:2] == [3.0, 4.0] and frame["nll"].isna().tolist()[2:] == [True, True]
    assert frame["kl"].isna().tolist() == [False, True, True, True]
    assert frame["correct"].tolist()[2:] == [1.0, 0.0]


def test_items_of_records_that_are_not_done_are_left_out(synthetic: ModuleType) -> None:
    items = {"choice": {"item": [1], "correct": [1]}}
    assert items_of([synthetic.record("eval", "base", items=items, status="invalid", reason="NaN")]).empty


def test_facts_keep_the_last_line_of_failures_and_distinct_commands(synthetic: ModuleType) -> None:
    failed = synthetic.record("train", "lora", status="crashed", reason="signal 11", log_tail=["first", "the end", " "])
    done = synthetic.record("eval", "base", observed={"layer_classes": {"Linear": 2}}, log_tail=["fine"])
    facts = facts_of([failed, done])
    assert facts.last_lines == {failed["record"]: "the end"}
    assert facts.observed == {done["record"]: {"layer_classes": {"Linear": 2}}}
    assert facts.commands == {synthetic.INSTALLATION: [["harness", "run", "suites/synthetic.yaml"]]}
    assert facts.environments[synthetic.INSTALLATION]["hard"]["cores"] == 2
