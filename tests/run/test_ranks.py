"""Several processes train one step: what they tell becomes one record, and one that dies ends it with its error."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.contract import Checkpoint
from harness.results.store import Store
from harness.run import launcher, rank, ranks

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


@pytest.mark.quiet
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


def told_by(rank: int, communication: float) -> dict[str, Any]:
    """What a rank that took no step tells."""
    steps: dict[str, list[float]] = {
        name: [] for name in ("seconds", "loss", "tokens", "nonpadding_tokens", "loss_tokens")
    }
    metrics = {"peak_memory_bytes": 100 + rank, "communication_seconds": communication, "parameters": 7}
    return {"spans": [], "optimizer_steps": steps, "curve": [], "metrics": metrics, "observed": {}, "flags": []}


def test_communication_is_that_of_the_rank_that_takes_longest() -> None:
    taken: list[Any] = []
    meter: Any = SimpleNamespace(take_over=lambda *given: taken.extend(given))
    ranks._take_over(meter, [told_by(0, 0.1), told_by(1, 0.3)])
    metrics, observed = taken[4], taken[5]
    assert metrics == {"peak_memory_bytes": 101, "communication_seconds": 0.3, "parameters": 7}
    assert observed["ranks"] == [
        {"rank": 0, "peak_memory_bytes": 100, "communication_seconds": 0.1},
        {"rank": 1, "peak_memory_bytes": 101, "communication_seconds": 0.3},
    ]


@pytest.mark.parametrize(("device", "chosen"), [("cuda", [1]), ("cpu", [])])
def test_a_rank_imports_what_a_forked_worker_has_and_then_takes_its_own_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, chosen: list[int]
) -> None:
    done: list[Any] = []

    @contextlib.contextmanager
    def prepared(job: Any, meter: Any, scratch: Path, *, rank: int) -> Iterator[Any]:
        done.append(("prepared", rank, meter.timeline._gpu))
        yield SimpleNamespace(train=train), None, None

    def train(_request: Any) -> Checkpoint:
        done.append("train")
        return Checkpoint("none", {})

    monkeypatch.setattr(rank, "prepared", prepared)
    monkeypatch.setattr(rank, "libraries", lambda: done.append("libraries"))
    monkeypatch.setattr(rank, "set_process_option", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    job = {"log": str(tmp_path / "log"), "output": str(tmp_path), "ranks_folder": str(tmp_path),
           "hardware": {"device": device}}  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert rank.main(str(tmp_path / "job.json")) == 0
    assert done == ["libraries", ("prepared", 1, chosen[0] if chosen else None), *chosen, "train"]
    told = json.loads((tmp_path / "rank1.json").read_text())
    assert told["status"] == "done" and {"import", "train"} <= {span["name"] for span in told["spans"]}
