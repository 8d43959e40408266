"""From a checkpoint to a live transformers model at a stated compute precision, with its adapters on top."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint, Hardware
from harness.errors import ModelError, StepError
from harness.hub.cache import label_of
from harness.models.architectures import auto_class
from harness.models.drawn import draw, is_drawn
from harness.models.inspect import describe_model, quantized_storage

# A model is data. Code that lies beside it is never run, and transformers is told so at every opening: where nothing is
# said it asks on the terminal, and libraries built on it take yes for an answer.
SAFELY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}

# gptqmodel's kernels that need no compiler, by method: torch's own product with packed 4-bit codes where it takes them,
# else codes unpacked in plain torch. On a GPU the library chooses.
_BUILT_IN = {"gptq": "gptq_torch_aten", "awq": "awq_torch_aten"}
_IN_TORCH = {"gptq": "gptq_torch", "awq": "torch_awq"}
BUILT_IN_GROUPS = (32, 64, 128, 256)


def weight_dtype(precision: str) -> Any:
    """Type in which weights are held: 16 bits for ``bf16`` and ``fp16``, float32 for ``fp32`` and the mixed ones."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def autocast(precision: str, device: str) -> Any:
    """Context in which a forward pass runs: 16-bit autocast for ``bf16-mixed`` and ``fp16-mixed``, nothing else."""
    import torch

    dtype = torch.float16 if precision.startswith("fp16") else torch.bfloat16
    return torch.autocast(device, dtype=dtype, enabled=precision.endswith("-mixed"))


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """Load the tokenizer part; one without a padding token pads with its end-of-text token, or any: it is masked."""
    from transformers import AutoTokenizer

    if "tokenizer" not in checkpoint.parts:
        raise ModelError("the checkpoint has no tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.parts["tokenizer"], **SAFELY)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def load_model(
    checkpoint: Checkpoint,
    precision: str,
    hardware: Hardware,
    *,
    quantization: Any = None,
    attention: str | None = None,
    with_adapters: bool = True,
    storage: Any = None,
    headless: bool = False,
) -> Any:
    """Load a model of the checkpoint's kind, with its PEFT adapters unmerged on top where the checkpoint has them.

    ``quantization`` is a transformers quantisation configuration; without it, ``opened_by['quantization']`` of the
    checkpoint holds, so that adapters trained over a 4-bit base meet the same base again. ``storage`` overrides the
    type in which ``precision`` holds unquantised weights. ``headless`` leaves the language-modelling head out.
    """
    config = quantization or _recorded_quantization(checkpoint, precision, hardware.device)
    auto = auto_class(checkpoint.kind, headless=headless)
    model = _load_weights(auto, checkpoint, storage or weight_dtype(precision), hardware, config, attention)
    if with_adapters and "peft" in checkpoint.parts:
        model = with_adapters_of(model, checkpoint.parts["peft"])
    return model


def with_adapters_of(model: Any, folder: Path) -> Any:
    """Put the adapters that PEFT saved in ``folder`` on a live model, unmerged."""
    from peft import PeftModel

    if _kind_of_adapters(folder) == "BOTTLENECK":  # which PEFT does not know before, and which needs aenum
        from harness.models import bottleneck as _registered  # noqa: F401

    return PeftModel.from_pretrained(model, str(folder))


def load_merged(checkpoint: Checkpoint, precision: str, hardware: Hardware) -> Any:
    """Load the model in full precision with its adapters merged into the weights."""
    plain = Checkpoint(kind=checkpoint.kind, parts=checkpoint.parts)
    model = load_model(plain, precision, hardware)
    if "peft" not in checkpoint.parts:
        return model
    kind = str(model.active_peft_config.peft_type.value).lower()
    try:
        return model.merge_and_unload()
    except (AttributeError, ValueError) as error:
        reason = f"{kind} cannot be merged into the weights: nothing can be done to the model after it"
        raise StepError(reason) from error


def load_plain(checkpoint: Checkpoint, hardware: Hardware, name: str) -> Any:
    """The merged model in float32 for the technique ``name``; ``StepError`` where its weights are quantised already."""
    model = load_merged(checkpoint, "fp32", hardware)
    if already := describe_model(model)["quantized_layers"]:
        raise StepError(f"{', '.join(already)} weights are quantised already: {name} needs the plain ones")
    return model


def base_model(model: Any) -> Any:
    """The transformers model below PEFT's wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _recorded_quantization(checkpoint: Checkpoint, precision: str, device: str) -> Any:
    """How a checkpoint is opened: with bitsandbytes' options that it remembers, or with a kernel for packed codes."""
    if recorded := checkpoint.opened_by.get("quantization"):
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(**recorded)
    told = _quantization_of(checkpoint.parts["model"])
    method = told.get("quant_method")
    if method not in _IN_TORCH or device != "cpu":
        return None
    from transformers import AwqConfig, GPTQConfig

    built_in = precision in ("bf16", "fp16") and told["bits"] == 4 and told["group_size"] in BUILT_IN_GROUPS
    kind = AwqConfig if method == "awq" else GPTQConfig
    config = kind(bits=told["bits"], backend=_IN_TORCH[method])
    if built_in:  # which transformers' own list of backends does not have, for AWQ
        config.backend = _BUILT_IN[method]
    return config


def _load_weights(
    auto: Any, checkpoint: Checkpoint, dtype: Any, hardware: Hardware, quantization: Any, attention: str | None
) -> Any:
    from pickle import UnpicklingError  # what torch raises where it refuses one

    from safetensors import SafetensorError

    path = str(checkpoint.parts["model"])
    options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    stored_quantized = bool(_quantization_of(Path(path)))
    if stored_quantized:
        from harness.models import rtn as _registered  # noqa: F401
    if quantization is not None or stored_quantized:
        options["device_map"] = {"": hardware.device}
        _say_once("bitsandbytes")
    if quantization is not None:
        options["quantization_config"] = quantization
    options |= {"dtype": dtype, "weights_only": True}
    try:
        if is_drawn(Path(path)):
            model = draw(auto, Path(path), hardware.device, **options)
        else:
            model, told = auto.from_pretrained(path, output_loading_info=True, **SAFELY, **options)
            if not stored_quantized:
                _check_whole(told["missing_keys"], Path(path), auto)
    except (OSError, ValueError, SafetensorError, UnpicklingError) as error:
        raise ModelError(f"cannot load the model in {label_of(Path(path))}: {str(error).splitlines()[0]}") from error
    if stored_quantized:
        _hold_the_rest_in(dtype, model)
    return model.to(hardware.device) if quantization is None and not stored_quantized else model


def _check_whole(missing: Collection[str], path: Path, auto: Any) -> None:
    """``ModelError`` where weights are not in the files: transformers would draw them at random and only warn.

    Without a head nothing is scored by what an encoder may have beside it (a pooler), so that it may be missing.
    """
    if missing and auto.__name__ != "AutoModel":
        shown = ", ".join(sorted(missing)[:3])
        raise ModelError(
            f"{label_of(path)} lacks {len(missing)} weights of the model that its config.json describes, as {shown}: "
            f"{auto.__name__.removeprefix('AutoModelFor')} would be scored with random ones"
        )


def _hold_the_rest_in(dtype: Any, model: Any) -> None:
    """Cast what is not quantised: of a quantised checkpoint transformers leaves it in the type it was stored in.

    A weight of torchao is cast too: it says which type its products are computed in.
    """
    import torch

    for parameter in model.parameters():
        if parameter.is_floating_point() and quantized_storage(parameter) is None:
            parameter.data = parameter.data.to(dtype)
    for module in model.modules():
        weight: Any = getattr(module, "weight", None)
        if (quantized_storage(weight) or "").startswith("torchao"):
            module.weight = torch.nn.Parameter(weight.to(dtype), requires_grad=False)


def check_kernel(model: Any) -> None:
    """``StepError`` where bitsandbytes' 4-bit kernel of this processor cannot take a layer, which it says less clearly.

    With AVX512-BF16 it repacks weights at the first evaluation, 32 outputs and 64 inputs at a time.
    """
    for name, module in model.named_modules():
        if not getattr(module, "support_avx512bf16_for_cpu", False) or module.weight.device.type != "cpu":
            continue
        outputs, inputs = module.out_features, module.in_features
        if outputs % 32 or inputs % 64:
            raise StepError(
                f"bitsandbytes' 4-bit kernel of this processor takes outputs by 32 and inputs by 64: "
                f"{name} has {outputs} outputs and {inputs} inputs"
            )


def _say_once(package: str) -> None:
    """Let each warning of ``package`` through once: bitsandbytes repeats one at every product, which costs time."""
    import logging

    said: set[str] = set()

    def first_time(record: logging.LogRecord) -> bool:
        new = record.getMessage() not in said
        said.add(record.getMessage())
        return new

    for name in (package, *(name for name in logging.root.manager.loggerDict if name.startswith(f"{package}."))):
        logging.getLogger(name).addFilter(first_time)


def _kind_of_adapters(folder: Path) -> str:
    """PEFT's name of the method whose adapters lie in ``folder``."""
    return str(json.loads((folder / "adapter_config.json").read_text()).get("peft_type"))


def _quantization_of(path: Path) -> dict[str, Any]:
    """What ``config.json`` says of a stored model's quantisation; empty for a plain one."""
    return dict(json.loads((path / "config.json").read_text()).get("quantization_config") or {})
