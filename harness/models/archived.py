"""The archived packages auto-gptq and autoawq, under the transformers of their time (4.51), which knows no later files.

A plain model is handed to them with its configuration in the words of that time; what they make is put back into the
words of ours, and opened by the maintained library.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint, Job
from harness.errors import StepError
from harness.models.checkpoint import weight_files
from harness.models.drawn import is_drawn
from harness.models.inspect import check_groups, safetensors_header
from harness.models.stored import read_tensors, write_in_16_bits


def folder_of_that_time(job: Job, folder: Path, name: str, group_size: int | None) -> Path:
    """Fill ``folder`` with the job's model as transformers 4.51 reads it; weights are linked.

    ``StepError`` for a model that is quantised already, rotary embeddings that are scaled, and a group that does not
    divide a layer's inputs, which the packages take without a word.
    """
    source = job.checkpoint.parts["model"]
    config = json.loads((source / "config.json").read_text())
    if already := config.get("quantization_config"):
        raise StepError(f"{already['quant_method']} weights are quantised already: {name} needs the plain ones")
    if is_drawn(source):
        raise StepError(f"{name} reads weights from files, and those of a random model of this size are in none")
    check_groups(source, group_size)
    (folder / "config.json").write_text(json.dumps(_config_of_that_time(config, name)))
    for file in (*weight_files(source), *source.glob("*.safetensors.index.json")):
        (folder / file.name).symlink_to(file.resolve())
    return folder


def tokenizer_of_that_time(job: Job) -> Any:
    """The checkpoint's tokenizer, whose class transformers 4.51 knows under another name."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(job.checkpoint.parts["tokenizer"], trust_remote_code=False)


def keep(job: Job, model: Any, saved: Path, quantization: Mapping[str, Any]) -> Checkpoint:
    """Record what the package made of the model, and put its file where the maintained library opens it."""
    classes = Counter(type(module).__name__ for module in model.modules() if not list(module.children()))
    job.meter.observe("model", {"layer_classes": dict(sorted(classes.items()))})
    source, folder = job.checkpoint.parts["model"], job.part("model")
    config = json.loads((source / "config.json").read_text())
    if len(files := weight_files(saved)) != 1:
        raise StepError(f"the package saved {len(files)} weight files: only a model that fits one is opened again")
    tensors, _ = read_tensors(files[0])
    if config.get("tie_word_embeddings"):
        tensors.pop("lm_head.weight", None)
    write_in_16_bits(tensors, folder / "model.safetensors", {"format": "pt"})
    config |= {"quantization_config": dict(quantization), "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    job.meter.metric("parameters", _parameters(source))
    return job.checkpoint.with_model(folder)


def _config_of_that_time(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    old = {key: value for key, value in config.items() if key != "auto_map"}  # no code of the model's is ever run
    rotary = old.pop("rope_parameters", None) or {}
    if rotary.get("rope_type", "default") != "default":
        raise StepError(f"{name} is handed plain rotary embeddings, this model scales them ('{rotary['rope_type']}')")
    if "rope_theta" in rotary:
        old["rope_theta"] = rotary["rope_theta"]
    if "dtype" in old:
        old["torch_dtype"] = old.pop("dtype")
    return old


def _parameters(source: Path) -> int:
    """Number of weights in a folder's files."""
    shapes = [item["shape"] for file in weight_files(source) for item in safetensors_header(file).values()]
    return sum(map(math.prod, shapes))
