"""What the technique ``auto_awq`` does, in its own environment."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint, Job
from harness.models.archived import folder_of_that_time, keep, tokenizer_of_that_time

DAMAGED = "autoawq as released: on a CPU it restores scaled weights in place of the originals, and damages the model"


def quantize(job: Job, group_size: int, corrected: bool, windows: Sequence[Sequence[int]]) -> Checkpoint:
    """Quantise the job's model by autoawq, in groups with zero points (its symmetric grid cannot be packed)."""
    import torch

    with warnings.catch_warnings(record=True):  # a farewell that sets its own filter
        from awq import AutoAWQForCausalLM

    meter = job.meter
    if not corrected and job.hardware.device == "cpu":
        meter.flag(DAMAGED)
    with tempfile.TemporaryDirectory(dir=job.output.resolve()) as temporary:
        plain, saved = Path(temporary, "plain"), Path(temporary, "saved")
        plain.mkdir()
        with meter.span("load"):
            folder = folder_of_that_time(job, plain, "auto_awq", group_size)
            model = AutoAWQForCausalLM.from_pretrained(
                str(folder), torch_dtype=torch.float32, device_map=job.hardware.device, trust_remote_code=False
            )
        with meter.span("compress"):
            model.quantize(
                tokenizer_of_that_time(job),
                quant_config={"zero_point": True, "q_group_size": group_size, "w_bit": 4, "version": "GEMM"},
                calib_data=[list(window) for window in windows], max_calib_samples=len(windows),
                max_calib_seq_len=max(map(len, windows)), **({"quantizer_cls": _with_copies()} if corrected else {}),
            )  # fmt: skip
        with meter.span("save"):
            model.save_quantized(str(saved))
            told = {
                "quant_method": "awq", "bits": 4, "group_size": group_size, "zero_point": True, "version": "gemm",
                "modules_to_not_convert": None,
            }  # fmt: skip
            return keep(job, model.model, saved, told)


def _with_copies() -> Any:
    """autoawq's quantiser, whose search keeps copies of the weights that it scales."""
    from awq.quantize.quantizer import AwqQuantizer

    class WithCopies(AwqQuantizer):  # type: ignore[misc]
        def _compute_best_scale(
            self, x: Any, w_mean: Any, x_mean: Any, module2inspect: Any, *rest: Any, **more: Any
        ) -> Any:
            own = module2inspect.state_dict
            module2inspect.state_dict = lambda *given, **named: {
                name: value.clone() for name, value in own(*given, **named).items()
            }
            try:
                return super()._compute_best_scale(x, w_mean, x_mean, module2inspect, *rest, **more)
            finally:
                del module2inspect.state_dict

    return WithCopies
