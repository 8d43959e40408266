"""Quantising without data: by bitsandbytes and torchao through transformers, and by rounding to the nearest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint, Job
from harness.errors import StepError
from harness.models.inspect import check_groups, describe_model
from harness.models.loading import load_merged, load_model, load_plain


@dataclass(frozen=True)
class Recipe:
    """How a transformers configuration is made, and the storage type that must be found in the model afterwards.

    ``group_size`` must divide every layer's inputs, where it is given; ``options`` are bitsandbytes' own, by which a
    checkpoint over quantised weights remembers them.
    """

    config: Callable[[], Any]
    storage: str
    group_size: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


def eight_bit(threshold: float) -> Recipe:
    """LLM.int8() with outliers from ``threshold`` on."""
    return bitsandbytes({"load_in_8bit": True, "llm_int8_threshold": threshold}, "int8")


def four_bit(quant_type: str, double_quant: bool, precision: str, compute_type: str | None = None) -> Recipe:
    """4-bit codes; products are computed in ``compute_type``, else in float32 for ``fp32``, in bfloat16 otherwise."""
    options = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": quant_type,
        "bnb_4bit_use_double_quant": double_quant,
        "bnb_4bit_compute_dtype": compute_type or ("float32" if precision == "fp32" else "bfloat16"),
    }
    return bitsandbytes(options, quant_type + ("+double" if double_quant else ""))


def torchao_integers(bits: int, group_size: int | None) -> Recipe:
    """torchao's integers: at 8 bits symmetric, below with a zero point, per group or per row."""
    return Recipe(lambda: _torchao(bits, group_size), f"torchao int{bits}", group_size)


def bitsandbytes(options: dict[str, Any], storage: str) -> Recipe:
    """Options of a ``BitsAndBytesConfig``."""

    def config() -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(**options)

    return Recipe(config, storage, options=options)


def _torchao(bits: int, group_size: int | None) -> Any:
    import torch
    from torchao.quantization import (
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        MappingType,
        PerAxis,
        PerGroup,
        PerRow,
    )
    from transformers import TorchAoConfig

    if bits == 8:
        rows = PerGroup(group_size) if group_size else PerRow()
        return TorchAoConfig(Int8WeightOnlyConfig(granularity=rows, set_inductor_config=False))
    rows = PerGroup(group_size) if group_size else PerAxis(0)
    code = getattr(torch, f"int{bits}")
    return TorchAoConfig(
        IntxWeightOnlyConfig(weight_dtype=code, granularity=rows, mapping_type=MappingType.ASYMMETRIC)
    )


def quantize(job: Job, recipe: Recipe) -> Checkpoint:
    """Quantise the job's model (adapters merged first), save it, and record what was found in it.

    What stays unquantised (embeddings, norms) is stored in bfloat16, as it is shipped everywhere; the cell's precision
    says how the result is computed with, not how it is stored.
    ``StepError`` where the group does not divide a layer's inputs, and where the model does not hold the storage type
    that was asked for: a technique must not pass under another's name.
    """
    import torch

    meter = job.meter
    with tempfile.TemporaryDirectory(dir=job.output.resolve()) as folder:
        source = job.checkpoint
        if "peft" in source.parts:
            with meter.span("merge"):
                load_merged(source, job.precision, job.hardware).save_pretrained(folder)
            source = source.with_model(Path(folder))
        check_groups(source.parts["model"], recipe.group_size)
        with meter.span("compress"):
            model = load_model(
                source, job.precision, job.hardware, quantization=recipe.config(), storage=torch.bfloat16
            )
    return _kept(job, model, recipe.storage)


def round_weights(job: Job, bits: int, group_size: int | None, symmetric: bool) -> Checkpoint:
    """Round the job's model to the nearest (adapters merged first), and save its codes; the rest is stored in bfloat16.

    ``StepError`` where a layer's width is no multiple of the group size, and for a model that is quantised already.
    """
    import torch

    from harness.models.rounding import Grid
    from harness.models.rtn import round_model

    with job.meter.span("load"):
        model = load_plain(job.checkpoint, job.hardware, "rtn")
    with job.meter.span("compress"), torch.no_grad():
        model = round_model(model, Grid(bits, group_size, symmetric))
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    return _kept(job, model, f"rtn int{bits}")


def _kept(job: Job, model: Any, storage: str) -> Checkpoint:
    """Record what is really in the model, and save it."""
    found = describe_model(model)
    job.meter.observe("model", found)
    if set(found["quantized_layers"]) != {storage}:
        raise StepError(f"asked for {storage} layers, found {found['quantized_layers'] or 'none'}")
    job.meter.metric("parameters", found["parameters"])
    with job.meter.span("save"):
        model.save_pretrained(job.part("model"))
    return job.checkpoint.with_model(job.part("model"))
