"""What techniques share that calibrate: their base, their parameters, and windows cut from the training split."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from harness.contract import Adapter, Job, param
from harness.errors import DataError


@dataclass(frozen=True)
class CalibrationParams:
    """Parameters that every technique that calibrates shares; a technique's own ``Params`` derives from this."""

    calibration_windows: int = param(128, "number of calibration windows", low=1)
    calibration_length: int = param(256, "tokens of a calibration window", low=2)
    calibration_view: str = param(
        "text", "the view that the windows are cut from", choices=("text", "instructions")
    )


class Calibrated(Adapter):
    """A compression against calibration text, after which nothing can follow; by default it always calibrates."""

    takes = frozenset({"model", "tokenizer"})
    gives = frozenset({"model"})
    ends = "leaves integer weights, which nothing here trains or quantises further"

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.view = params.calibration_view


def calibration_windows(job: Job, params: CalibrationParams, tokenizer: Any = None) -> list[list[int]]:
    """Windows of ``calibration_length`` tokens (at most the model's context), spread over the training split; recorded.

    Documents or pairs follow one another with an end-of-text token between. ``DataError`` where there are fewer than
    asked for: a set that shrinks silently would pass for the one that was named.
    """
    with job.meter.span("data"):
        chosen = _windows(job, params, tokenizer)
    job.meter.metric("calibration_tokens", sum(map(len, chosen)))
    facts = {"view": params.calibration_view, "split": "train", "windows": len(chosen), "length": len(chosen[0])}
    job.meter.observe("calibration", facts)
    return chosen


def _windows(job: Job, params: CalibrationParams, tokenizer: Any) -> list[list[int]]:
    from harness.data.windows import pack, spread
    from harness.models.chat import render_answer, render_prompt
    from harness.models.loading import load_tokenizer
    from harness.training.examples import prompts_and_answers, tokenize

    view, tokenizer = params.calibration_view, tokenizer or load_tokenizer(job.checkpoint)
    if view == "text":
        texts = job.data.view("text", "train")
    else:
        texts = [
            render_prompt(item["prompt"], tokenizer) + render_answer(item["prompt"], item["answer"], tokenizer)
            for item in prompts_and_answers(job.data, view, "train")
        ]
    length = min(params.calibration_length, _context(job))
    windows = pack(tokenize(tokenizer, texts), length, None, tokenizer.eos_token_id)
    if len(windows) < params.calibration_windows:
        raise DataError(
            f"the calibration asks for {params.calibration_windows} windows of {length} tokens, view '{view}' of "
            f"'{job.data.name}' has {len(windows)}: lower calibration_windows or calibration_length"
        )
    return spread(windows, params.calibration_windows)


def _context(job: Job) -> int:
    """Longest text that the job's model takes, by its configuration."""
    config = json.loads((job.checkpoint.parts["model"] / "config.json").read_text())
    return int(config.get("max_position_embeddings") or config.get("n_positions") or sys.maxsize)
