"""GPTQ and AWQ by gptqmodel: weights quantised one layer after another, against what calibration text puts into them.

What gptqmodel does silently is asked for or refused here: a group that is wider than a layer, a layer that is rounded
to the nearest because it saw too little text, an architecture of which it guesses the layers.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint, Job
from harness.errors import StepError
from harness.models.inspect import describe_model
from harness.models.loading import load_model, load_plain, load_tokenizer
from harness.models.stored import read_tensors, write_in_16_bits

WINDOWS_AT_ONCE = 8
# What gptqmodel drops without a word: a window of so few tokens.
SHORTEST = 10
PACKED_TOGETHER = 32


@dataclass(frozen=True)
class Recipe:
    """Which method, and its grid: ``group_size`` None is a whole row."""

    method: str
    bits: int
    group_size: int | None
    symmetric: bool
    activation_order: bool = False

    @property
    def storage(self) -> str:
        """What every layer must hold afterwards, in a word."""
        return f"{self.method} int{self.bits}"


def quantize_calibrated(job: Job, recipe: Recipe, windows: Sequence[Sequence[int]]) -> Checkpoint:
    """Quantise the job's model (adapters merged first) and save it; the rest is stored in bfloat16.

    ``StepError`` where the model is quantised already or is not one that gptqmodel knows by name, where a layer's
    inputs are no multiple of the group, and where windows are too short to be used.
    """
    with job.meter.span("load"):
        model = load_plain(job.checkpoint, job.hardware, recipe.method)
    layers = _check(model, recipe, windows)
    folder = job.part("model")
    with tempfile.TemporaryDirectory(dir=job.output.resolve()) as plain:
        with job.meter.span("convert"):
            model.save_pretrained(plain)
            load_tokenizer(job.checkpoint).save_pretrained(plain)
            del model
        with job.meter.span("compress"):
            _keep_logs_in(Path(plain))
            quantised = _quantised(Path(plain), recipe, windows, job.hardware.device)
        with job.meter.span("save"):
            quantised.save(str(folder))
            _as_shipped(folder, Path(plain))
    made = job.checkpoint.with_model(folder)
    with job.meter.span("inspect"):
        found = describe_model(load_model(made, "bf16", job.hardware))
    job.meter.observe("model", found)
    job.meter.metric("parameters", found["parameters"])
    if found["quantized_layers"] != {recipe.storage: layers}:
        raise StepError(f"asked for {layers} {recipe.storage} layers, found {found['quantized_layers'] or 'none'}")
    return made


def _check(model: Any, recipe: Recipe, windows: Sequence[Sequence[int]]) -> int:
    """Refuse what would go wrong in silence; return how many layers there are to quantise."""
    import torch
    from gptqmodel.models.auto import MODEL_MAP

    name = recipe.method
    kind = model.config.model_type
    if kind not in MODEL_MAP:
        raise StepError(f"gptqmodel does not know {kind} models: {name} works on those that it lists, llama among them")
    linear = [(place, one) for place, one in model.named_modules() if isinstance(one, torch.nn.Linear)]
    linear = [(place, one) for place, one in linear if one is not model.get_output_embeddings()]
    if not linear:
        raise StepError(f"{name} quantises linear layers, and a {kind} has none (GPT-2's are of another class)")
    for place, one in linear:
        if recipe.group_size and one.in_features % recipe.group_size:
            raise StepError(f"group_size {recipe.group_size} does not divide the {one.in_features} inputs of {place}")
        if recipe.bits == 3 and one.in_features % PACKED_TOGETHER:
            raise StepError(
                f"gptqmodel packs 3-bit codes {PACKED_TOGETHER} at a time, which does not divide the {one.in_features} "
                f"inputs of {place}: take 2, 4 or 8 bits"
            )
    if min(map(len, windows)) <= SHORTEST:
        raise StepError(f"gptqmodel uses no calibration window of {SHORTEST} tokens or fewer: take longer ones")
    return len(linear)


def _keep_logs_in(folder: Path) -> None:
    """gptqmodel writes a log of every run to ``logs`` where the user stands."""
    from gptqmodel.looper import loop_processor

    loop_processor._PROJECT_LOG_DIR = folder / "logs"


def _quantised(folder: Path, recipe: Recipe, windows: Sequence[Sequence[int]], device: str) -> Any:
    import torch
    from logbar import LogBar

    # Before gptqmodel is used: its bars are drawn from a thread of their own.
    LogBar.shared().setLevel("ERROR")
    from gptqmodel import BACKEND, GPTQModel
    from gptqmodel.quantization import FORMAT, METHOD, AWQConfig, GPTQConfig

    shared = {
        "bits": recipe.bits, "group_size": recipe.group_size or -1, "sym": recipe.symmetric, "offload_to_disk": False,
        "device": device, "fallback": None,
    }  # fmt: skip
    if recipe.method == "gptq":
        config = GPTQConfig(
            method=METHOD.GPTQ, format=FORMAT.GPTQ, desc_act=recipe.activation_order, act_group_aware=False, **shared
        )
        backend, dtype = BACKEND.GPTQ_TORCH, torch.float32
    else:
        config = AWQConfig(method=METHOD.AWQ, format=FORMAT.GEMM, **shared)
        # In 32 bits it ends the whole process.
        backend, dtype = BACKEND.AWQ_TORCH, torch.bfloat16
    model = GPTQModel.load(str(folder), quantize_config=config, backend=backend, dtype=dtype)
    rows = [{"input_ids": list(window), "attention_mask": [1] * len(window)} for window in windows]
    model.quantize(rows, batch_size=WINDOWS_AT_ONCE, calibration_sort=None, backend=backend)
    return model


def _as_shipped(folder: Path, plain: Path) -> None:
    """Keep the weights and their configuration: 32-bit tensors in bfloat16, and the padding as the model had it."""
    for file in folder.glob("*.safetensors"):
        tensors, metadata = read_tensors(file)
        write_in_16_bits(tensors, file, metadata)
    before, config = (json.loads((place / "config.json").read_text()) for place in (plain, folder))
    config |= {"pad_token_id": before.get("pad_token_id"), "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    kept = {"config.json", "generation_config.json", "quantize_config.json"}
    for file in folder.iterdir():
        if file.name not in kept and file.suffix != ".safetensors" and not file.name.endswith(".index.json"):
            file.unlink()
