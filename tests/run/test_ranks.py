"""Several processes train one step: what they tell becomes one record, and one that dies ends it with its error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.results.store import Store
from harness.run import launcher

pytestmark = pytest.mark.quiet

TWO = {"device": "cpu", "devices": 1, "threads": 2, "ranks": 2}


def record_of(store: Store, job: dict[str, Any]) -> dict[str, Any]:
    launcher.run([job], store, preload=(), canary=False)
    (record,) = store.records("fakes").records
    return dict(record)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("rank_crash", "rank 1 of 2 failed: ValueError: the second rank has a bug"),
        ("rank_killed", "rank 1 of 2 died without a word: SIGKILL (see the log)"),
    ],
)
def test_a_rank_that_dies_ends_the_step_with_its_error(
    store: Store, job: Callable[..., dict[str, Any]], act: str, reason: str
) -> None:
    """The other rank would sleep ten minutes; the step's limit is one."""
    record = record_of(store, job("a", act, hardware=TWO))
    assert (record["status"], record["reason"]) == ("failed", reason)
    assert not store.has_checkpoint("a")


def test_tokens_are_summed_and_a_step_is_as_slow_as_its_slowest_rank(
    store: Store, job: Callable[..., dict[str, Any]]
) -> None:
    record = record_of(store, job("a", "rank_steps", hardware=TWO))
    assert record["status"] == "done", record["reason"]
    assert record["optimizer_steps"]["tokens"] == [201] * 4 and record["optimizer_steps"]["loss"] == [4.5] * 4
    assert min(record["optimizer_steps"]["seconds"]) >= 0.04
    assert [one["rank"] for one in record["observed"]["ranks"]] == [0, 1]
    peaks = [one["peak_memory_bytes"] for one in record["observed"]["ranks"]]
    assert record["metrics"]["peak_memory_bytes"] == max(peaks)
    assert sum(span["seconds"] for span in record["spans"]) == pytest.approx(record["wall_seconds"], abs=0.05)
