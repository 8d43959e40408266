"""``harness run`` and ``harness nightly`` over suites that anybody wrote: done or refused in words, never a traceback.

Everything is real but the workers: what was planned is recorded as skipped, by the launcher itself, so that thousands
of suites pass from the file to the report. In the slow form a few of them are measured as well, by real workers.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from mutations import mutated, texts
from payloads import EVERY, PATHS
from worlds import ran, tree

from harness.cli import running
from harness.results.store import Store
from harness.run import launcher
from harness.run.events import Outcome

COUNTS = {"suites": 1000, "bytes": 700, "measured": 6}
SHORT = {"suites": 30, "bytes": 12}
slow_too = pytest.mark.parametrize(
    "counts",
    [pytest.param(SHORT, id="short"), pytest.param(COUNTS, id="slow", marks=[pytest.mark.slow, pytest.mark.timeout(7200)])],
)  # fmt: skip
GOOD = {0, 1, 2, 3, 4}
# What a suite may say, by its keys: most of what is drawn of it plans, much of it is absurd.
SAID: dict[str, Sequence[Any]] = {
    "method": [
        "base", "lora", "lora > int8", ["base", "lora(rank=[1, 2])"], "lora + gradient_checkpointing", "bpe > clm",
        ["base", "int8", "gptq"], "sft > dpo", "distillation", "lora(learning_rate=1e-300)", "wordpiece",
        ["base", "base"], "lora + mixed_precision(dtype=bf16)", "base > base > int8", "lora(rank=[1, 1, 1])",
    ],
    "model": ["embedded", "random:llama(layers=2)", ["embedded", "random:bert"], "embedded", "./none", "hub:a/b", "m"],
    "models": [{"m": {"architecture": "llama", "from": "bpe > clm", "hidden_size": 64, "budget": {"steps": 1}}}],
    "data": ["source", "source", "source", "f", "d"],
    "data_sets": [{"f": {"path": "rows.jsonl"}}, {"d": {"hub": "a/b", "columns": {"text": "t"}}}],
    "precision": ["fp32", ["fp32", "bf16-mixed"], "fp16"],
    "hardware": ["cpu", "cuda", [{"device": "cpu", "threads": 1}, "cpu"], {"device": "cpu", "ranks": 2}],
    "seed": [0, [0, 1], 2**31, list(range(20))],
    "tasks": [
        "perplexity", ["perplexity", "choice"], ["generation_speed(batch=[1, 2])"], "nothing(number=1)", "tokenization",
        ["frontier"], ["preference"], ["perplexity(view=instructions, windows=1)"], "harness_speed", [],
    ],
    "budget": [{"steps": 2}, {"tokens": 10**9, "batch_size": 4}, {"tokens": 1000, "scope": "method"}, {"bytes": 1}],
    "params": [{"lora": {"rank": [4, 8]}}, {"int8": {"threshold": 0.0}}, {}],
    "tune": [{"params": {"lora": {"learning_rate": [0.1, 0.2]}}}],
    "exclude": [[{"method": "base"}], [{"uses": "lora", "seed": 0}], [{"precision": "fp32"}], []],
    "limits": [{"wall_seconds": 5}, {"wall_seconds": 1e-9, "silence_seconds": 1e18}],
    "interleave": [True], "baseline": ["base", "base", "base", "lora", "int8"],
    "name": ["s", "rich", "self", "nightly", "frontier", "alignment"],
}  # fmt: skip
TINY = {
    "name": "tiny", "question": "q", "notes": ["n"], "model": "embedded", "method": ["base"], "seed": [0],
    "tasks": ["nothing(number=1)"], "limits": {"wall_seconds": 60},
}  # fmt: skip


class Runs:
    """Both commands on one suite file after another, on the same results folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.suite = folder / "s.yaml"
        self.codes: list[int] = []

    def __call__(self, text: bytes, *more: str) -> None:
        self.suite.write_bytes(text)
        places = ("--results", self.folder / "results", "--isolation", "spawn", "--remeasure", "0", *more)
        for command in (("run", "--reports", self.folder / "reports"), ("nightly", "--no-report")):
            try:
                code, _, said = ran(self.capsys, command[0], self.suite, *command[1:], *places)
            except Exception as error:
                raise AssertionError(f"{command[0]}: {type(error).__name__}: {error} of {text[:3000]!r}") from error
            assert code in GOOD and "Traceback" not in said, said
            assert code == 0 or said.strip() or command[0] == "nightly", "what is wrong is said"
            self.codes.append(code)


@pytest.fixture
def runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    """In a folder of its own, beside which nothing appears, without the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(running, "build_data", lambda made, store: None)  # seconds each, and no suite's own words
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    found = Runs(work, capsys)
    yield found
    assert {path.name for path in tmp_path.iterdir()} == {"work"}
    assert {path.name for path in work.iterdir()} <= {"s.yaml", "results", "reports"}


@pytest.fixture
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch, undrawn: None) -> None:
    """The launcher skips every job, which it says and records as it does any skip."""

    def run(planned: Sequence[Mapping[str, Any]], store: Store, **how: Any) -> Outcome:
        skip = {"state": "skipped", "reason": "nothing is measured in this test"}
        return launcher.run([{**skip, **job} for job in planned], store, **how)

    monkeypatch.setattr(running, "run", run)


def drawn(draw: random.Random) -> dict[str, Any]:
    """A suite of some of what may be said; its free texts are anything, and one in four says a thing that it may not."""
    suite = {"method": "base", "tasks": "perplexity"}
    suite |= {key: draw.choice(each) for key, each in SAID.items() if draw.random() < 0.25}
    suite |= {"question": draw.choice((*EVERY, *PATHS)), "notes": [draw.choice(EVERY)]}
    return mutated(suite, draw) if draw.random() < 0.25 else suite


@slow_too
def test_suites_that_may_be_meant(counts: dict[str, int], runs: Runs, nothing_is_measured: None) -> None:
    draw = random.Random(31)
    for number in range(counts["suites"]):
        runs(json.dumps(drawn(draw)).encode(), *([] if number % 10 == 0 else ["--no-report"]))
    assert runs.codes.count(0) > len(runs.codes) / 10, "some are good, or nothing behind the door was tried"
    assert runs.codes.count(2) > len(runs.codes) / 10


@slow_too
def test_suites_of_odd_bytes(counts: dict[str, int], runs: Runs, nothing_is_measured: None) -> None:
    draw = random.Random(35)
    whole = [yaml.safe_dump(drawn(draw), sort_keys=False).encode() for _ in range(20)]
    for text in texts(whole, counts["bytes"], 32):
        runs(text, "--no-report")


@slow_too
def test_names_and_words_of_a_suite(counts: dict[str, int], runs: Runs, nothing_is_measured: None) -> None:
    """Every text that a suite may say freely, with its report; nothing of it leaves the folders."""
    draw = random.Random(33)
    for _ in range(counts["suites"] // 10):
        one, two, three = (draw.choice((*EVERY, *PATHS)) for _ in range(3))
        suite = TINY | {"name": one, "question": two, "notes": [three, one]}
        runs(json.dumps(suite).encode())
        suite["name"] = "tiny"
        runs(json.dumps(suite).encode())
    assert set(runs.codes) & {0, 1}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_is_measured_too(runs: Runs, undrawn: None) -> None:
    """Odd suites of a task that does nothing, with servers, workers and canaries as they are."""
    draw = random.Random(34)
    for _ in range(COUNTS["measured"]):
        suite = mutated(TINY, draw, 1) if draw.random() < 0.5 else TINY | {"notes": [draw.choice(EVERY)]}
        runs(json.dumps(suite).encode(), "--no-report")
        shutil.rmtree(runs.folder / "reports", ignore_errors=True)
    records = Store(runs.folder / "results").records("tiny")
    assert not records.quarantined
    assert {record["status"] for record in records.records} >= {"done"}
    assert tree(runs.folder / "results")
