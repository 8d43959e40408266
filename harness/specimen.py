"""A suite and records of its steps, generated and always the same: what the harness's own speed is measured on.

The records are as long as real ones; their numbers are drawn by the step's id. Standard library alone.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

SEEDS = 4
STEPS_OF_A_CELL = 5
INSTALLATION = "000000000000"
SUITE = """\
question: What would {cells} cells take?
method: lora
params: {{lora: {{rank: {ranks}}}}}
seed: {seeds}
hardware: {{device: cpu, threads: 2}}
tasks: [perplexity, perplexity(view=instructions), choice, generation_speed]
budget: {{steps: 60}}
"""
STEPS, TOKENS = 60, 2048
WINDOWS, WINDOW_TOKENS, WINDOW_BYTES = 60, 512, 1500
CHOICES, LATENCIES = 200, 235


def suite(cells: int) -> str:
    """The suite file with ``cells`` cells, rounded up to whole methods of ``SEEDS`` seeds."""
    ranks = list(range(1, math.ceil(cells / SEEDS) + 1))
    return SUITE.format(cells=cells, ranks=ranks, seeds=list(range(SEEDS)))


def record(step: Mapping[str, Any], number: int, suite: str) -> dict[str, Any]:
    """A done record of a planned step, the ``number``-th of a sweep."""
    hard = {"cpu_model": "generated", "cores": 2, "memory_gib": 8.0, "threads": 2}
    began = datetime(2026, 1, 1) + timedelta(seconds=number)
    spans = [{"name": name, "seconds": 1.0, "peak_memory_bytes": 4e8, "cuda": None} for name in ("load", "score")]
    return {
        "format": 1, "record": f"{step['id']}.1", "step": step["id"], "attempt": 1, "suite": suite,
        "operation": step["operation"], "coordinates": step["coordinates"], "job": {}, "status": "done", "reason": None,
        "started": f"{began.isoformat()}.000Z", "wall_seconds": 2.0,
        "environment": {"installation": INSTALLATION, "hard_id": "0" * 16, "hard": hard, "soft": {}},
        "commit": {"sha": "0" * 40, "dirty": False}, "command": ["harness", "run", suite], "spans": spans,
        "optimizer_steps": {}, "curve": [], "samples": {}, "items": {}, "observed": {}, "flags": [], "log_tail": [],
        **_measured(str(step["coordinates"]["task"] or ""), random.Random(step["id"])),
    }  # fmt: skip


def _measured(task: str, draw: random.Random) -> dict[str, Any]:
    """What a step with this task measures; one without a task trains."""
    if not task:
        return _trained(draw)
    if task.startswith("generation_speed"):
        between = [draw.uniform(0.003, 0.004) for _ in range(LATENCIES)]
        metrics = {"inter_token_latency_seconds": statistics.median(between), "decode_tokens_per_second": 290.0,
                   "prefill_tokens_per_second": 8000.0, "time_to_first_token_seconds": 0.016}  # fmt: skip
        return {"metrics": metrics, "samples": {"inter_token_latency_seconds": between}}
    if task.startswith("choice"):
        right = [draw.randrange(2) for _ in range(CHOICES)]
        columns = {"item": list(range(CHOICES)), "correct": right}
        return {"metrics": {"choice_accuracy": statistics.fmean(right)}, "items": {"choice": columns}}
    return _scored(draw)


def _trained(draw: random.Random) -> dict[str, Any]:
    seconds, loss = [draw.uniform(0.19, 0.21) for _ in range(STEPS)], draw.uniform(1.9, 2.1)
    metrics = {
        "tokens_per_second": TOKENS / statistics.fmean(seconds), "step_seconds": statistics.median(seconds),
        "optimizer_steps": STEPS, "train_tokens": STEPS * TOKENS, "parameters": 2_900_000,
        "trainable_parameters": 50_000, "checkpoint_bytes": 6_000_000, "weight_bytes": 5_800_000,
        "peak_memory_bytes": 6e8, "runtime_memory_bytes": 3e8,
    }  # fmt: skip
    counts = {name: [TOKENS] * STEPS for name in ("tokens", "nonpadding_tokens", "loss_tokens")}
    losses = [loss + 1 / step for step in range(1, STEPS + 1)]
    curve = [
        {"step": step, "train_tokens": step * TOKENS, "train_seconds": sum(seconds[:step]), "validation_loss": loss}
        for step in (15, 30, 45, 60)
    ]  # fmt: skip
    return {
        "optimizer_steps": {"seconds": seconds, **counts, "loss": losses, "warmup": 6}, "curve": curve,
        "metrics": metrics,
    }  # fmt: skip


def _scored(draw: random.Random) -> dict[str, Any]:
    level = draw.uniform(1.9, 2.1)
    losses = [WINDOW_TOKENS * (level + draw.gauss(0, 0.3)) for _ in range(WINDOWS)]
    loss = sum(losses) / (WINDOWS * WINDOW_TOKENS)
    bits = sum(losses) / (WINDOWS * WINDOW_BYTES * math.log(2))
    columns = {"window": list(range(WINDOWS)), "nll": losses, "tokens": [WINDOW_TOKENS] * WINDOWS,
               "bytes": [WINDOW_BYTES] * WINDOWS}  # fmt: skip
    metrics = {"loss": loss, "perplexity": math.exp(loss), "bits_per_byte": bits}
    return {"metrics": metrics, "items": {"perplexity": columns}}
