"""What the technique ``auto_gptq`` does, in its own environment."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.contract import Checkpoint, Job
from harness.models.archived import folder_of_that_time, keep
from harness.models.calibrated import Recipe


def quantize(job: Job, recipe: Recipe, windows: Sequence[Sequence[int]]) -> Checkpoint:
    """Quantise the job's model by auto-gptq."""
    import torch
    from auto_gptq import AutoGPTQForCausalLM, BaseQuantizeConfig

    config = BaseQuantizeConfig(
        bits=recipe.bits, group_size=recipe.group_size or -1, desc_act=recipe.activation_order, sym=recipe.symmetric
    )
    meter = job.meter
    with tempfile.TemporaryDirectory(dir=job.output.resolve()) as temporary:
        plain, saved = Path(temporary, "plain"), Path(temporary, "saved")
        plain.mkdir()
        with meter.span("load"):
            folder = folder_of_that_time(job, plain, "auto_gptq", recipe.group_size)
            model = AutoGPTQForCausalLM.from_pretrained(
                str(folder), config, torch_dtype=torch.float32, trust_remote_code=False
            )
        rows = [
            {"input_ids": torch.tensor([list(window)]), "attention_mask": torch.ones(1, len(window), dtype=torch.long)}
            for window in windows
        ]
        with meter.span("compress"):
            model.quantize(rows)
        with meter.span("save"):
            model.save_quantized(str(saved), use_safetensors=True)
            told = {
                "quant_method": "gptq", "bits": recipe.bits, "group_size": recipe.group_size or -1,
                "desc_act": recipe.activation_order, "sym": recipe.symmetric, "checkpoint_format": "gptq",
            }  # fmt: skip
            return keep(job, model.model, saved, told)
