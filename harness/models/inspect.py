"""What is really there: classes, types, quantised layers and hashes, read off the model and the files."""

from __future__ import annotations

import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint
from harness.errors import StepError
from harness.models.checkpoint import content_hash, weight_files
from harness.models.drawn import drawn_bytes, is_drawn

MODEL_PARTS = ("model", "peft")
ALIGNMENT_PARTS = ("reward", "reference")
TOKENIZER_PREFIXES = (
    "tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "spiece", "chat_template", "encoding.",
)  # fmt: skip
GGUF_SUFFIX = ".gguf"
NOT_SHIPPED = ("provenance", "README", "LICENSE", ".")


def describe_model(model: Any) -> dict[str, Any]:
    """Layer classes, parameter types and counts of a live model; quantised layers under their own storage type."""
    classes: Counter[str] = Counter()
    quantized: Counter[str] = Counter()
    for module in model.modules():
        if list(module.children()) or not _holds_weights(module):
            continue
        classes[type(module).__name__] += 1
        if (storage := storage_of(module)) is not None:
            quantized[storage] += 1
    dtypes: Counter[str] = Counter()
    for parameter in model.parameters():
        dtypes[str(parameter.dtype).removeprefix("torch.")] += logical_size(parameter)
    return {
        "layer_classes": dict(sorted(classes.items())),
        "dtypes": dict(sorted(dtypes.items())),
        "quantized_layers": dict(sorted(quantized.items())),
        "left": _left(model) if quantized else {},
        "parameters": logical_parameters(model),
        "layers": getattr(model.config, "num_hidden_layers", None),
        "attention": getattr(model.config, "_attn_implementation", None),
    }


def _left(model: Any) -> dict[str, str]:
    """Matrices of a quantised model that are not quantised, by name, and why; adapters over it are none of it."""
    if hasattr(model, "peft_config"):
        return {}
    embeddings, output = (
        getattr(model, f"get_{side}_embeddings", lambda: None)() for side in ("input", "output")
    )
    found = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if not list(module.children()) and getattr(weight, "ndim", 0) >= 2 and storage_of(module) is None:
            tied = module is output and embeddings is not None and weight is embeddings.weight
            found[name] = "shares the embeddings' weights" if tied else _why_left(module, module is output)
    return found


def _why_left(module: Any, is_output: bool) -> str:
    if type(module).__name__ == "Embedding":
        return "an embedding: looked up, not multiplied"
    return "the output layer, which the method leaves alone" if is_output else "not quantised by the method"


def storage_of(module: Any) -> str | None:
    """Storage type of a layer: its own word, that of packed codes (``gptq int4``), that of its weight, or None."""
    if (told := getattr(module, "quantized_as", None)) is not None:
        return str(told)
    if hasattr(module, "qweight"):
        method = "awq" if "Awq" in type(module).__name__ else "gptq"
        return f"{method} int{module.bits}"
    return quantized_storage(getattr(module, "weight", None))


def _holds_weights(module: Any) -> bool:
    return hasattr(module, "qweight") or getattr(module, "weight", None) is not None


def quantized_storage(weight: Any) -> str | None:
    """Storage type of a quantised weight (``int8``, ``nf4+double``, ``torchao int4`` ...), or None for a plain one."""
    state = getattr(weight, "quant_state", None)
    if state is not None:
        return str(state.quant_type) + ("+double" if state.nested else "")
    if type(weight).__module__.startswith("torchao."):
        bits = str(getattr(weight, "target_dtype", "torch.int8")).removeprefix("torch.int")
        return f"torchao int{bits}"
    return "int8" if type(weight).__name__ == "Int8Params" else None


def logical_parameters(model: Any) -> int:
    """Number of weights that a model's parameters and its buffers of codes stand for, tied ones once."""
    codes = sum(_codes(module) for module in model.modules())
    return codes + sum(logical_size(parameter) for parameter in model.parameters())


def _codes(module: Any) -> int:
    """Number of weights that a layer's buffers of codes stand for."""
    if hasattr(module, "qweight"):
        return int(module.in_features * module.out_features)
    return int(getattr(module, "logical_size", 0))


def logical_size(parameter: Any) -> int:
    """Number of weights that a parameter stands for (a packed 4-bit one holds two per byte)."""
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else int(parameter.numel())


def trainable_names(model: Any) -> list[str]:
    """Names of the parameters that require a gradient."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def inspect_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Facts of the files: bytes and hash of each part, and how many bytes each stored tensor type takes."""
    facts: dict[str, Any] = {"kind": checkpoint.kind, "parts": {}, "stored_bytes_by_dtype": {}}
    stored: Counter[str] = Counter()
    for name, path in sorted(checkpoint.parts.items()):
        files = part_files(checkpoint, name)
        facts["parts"][name] = {"bytes": sum(file.stat().st_size for file in files), "sha256": content_hash(files)}
        if name in MODEL_PARTS:
            stored.update(_stored_types(path))
    facts["stored_bytes_by_dtype"] = dict(sorted(stored.items()))
    return facts


def shipped_bytes(checkpoint: Checkpoint, name: str) -> int:
    """Bytes of the files of one part that a user would ship."""
    return sum(item.stat().st_size for item in part_files(checkpoint, name)) + drawn_bytes(checkpoint.parts[name])


def part_files(checkpoint: Checkpoint, name: str) -> list[Path]:
    """Files of one part. A model's folder often holds its tokenizer too: each file counts for one part alone."""
    path = checkpoint.parts[name]
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    if name == "tokenizer":
        return [item for item in files if item.name.startswith(TOKENIZER_PREFIXES)]
    return [item for item in files if not item.name.startswith((*TOKENIZER_PREFIXES, *NOT_SHIPPED))]


def weight_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of the weight files of the model and its adapters."""
    paths = [checkpoint.parts[name] for name in MODEL_PARTS if name in checkpoint.parts]
    return sum(drawn_bytes(path) + sum(map(_bytes_of_weights, weight_files(path))) for path in paths)


def checkpoint_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of everything that a user would ship: not what an alignment was done with."""
    return sum(shipped_bytes(checkpoint, name) for name in checkpoint.parts if name not in ALIGNMENT_PARTS)


def safetensors_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: tensor name -> dtype, shape and offsets (standard library alone)."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header


def check_groups(folder: Path, group_size: int | None) -> None:
    """``StepError`` naming the first stored layer whose inputs the group does not divide, where there is a group."""
    for name, shape in _stored_matrices(folder) if group_size else ():
        if shape[1] % (group_size or 1):
            raise StepError(f"group_size {group_size} does not divide the {shape[1]} inputs of {name}")


def _stored_matrices(folder: Path) -> list[tuple[str, list[int]]]:
    """Layers' matrices in a folder's safetensors files: the module's name and the shape [out, in]."""
    files = [file for file in weight_files(folder) if file.suffix == ".safetensors"]
    found = [item for file in files for item in safetensors_header(file).items()]
    return [
        (name.removesuffix(".weight"), item["shape"]) for name, item in found
        if any(word in name for word in (".layers.", ".layer.", ".block.")) and len(item["shape"]) == 2
    ]  # fmt: skip


def _bytes_of_weights(file: Path) -> int:
    """Size of a weight file; a GGUF file holds the tokenizer too, which is no weight."""
    return sum(_gguf_types(file).values()) if file.suffix == GGUF_SUFFIX else file.stat().st_size


def _gguf_types(file: Path) -> dict[str, int]:
    from harness.models.gguf.quantizing import read_tensors

    return dict(read_tensors(file).bytes)


def _stored_types(path: Path) -> Counter[str]:
    found: Counter[str] = Counter({"BF16": drawn_bytes(path)} if is_drawn(path) else {})
    for file in weight_files(path):
        if file.suffix == ".safetensors":
            for tensor in safetensors_header(file).values():
                found[tensor["dtype"]] += tensor["data_offsets"][1] - tensor["data_offsets"][0]
        elif file.suffix == GGUF_SUFFIX:
            found.update(_gguf_types(file))
    return found
