"""Where a model comes from: embedded in the package, a folder, the hub, random weights, or a bare architecture.

``open_model`` turns a suite's model specification into a checkpoint without training anything. Recipes
(``from: bpe > clm``) never reach this file: the plan turns them into steps.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint
from harness.errors import ModelError, did_you_mean

EMBEDDED = Path(__file__).parent / "embedded"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json")
SIZES = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "layers": 4,
    "heads": 4,
    "kv_heads": 2,
    "vocab_size": 2048,
    "context": 512,
}
ARCHITECTURES = ("llama", "gpt2")


def open_model(spec: Mapping[str, Any], *, cache: Path) -> Checkpoint:
    """Return the checkpoint that ``spec`` describes; ``ModelError`` in one line where it cannot be had."""
    match spec["kind"]:
        case "none":
            return Checkpoint(kind="none", parts={})
        case "embedded":
            return open_folder(EMBEDDED)
        case "folder":
            return open_folder(Path(spec["path"]))
        case "hub":
            return _open_hub(spec)
        case "random":
            return _write_architecture(spec, cache, seed=int(spec.get("seed") or 0))
        case "architecture":
            return _write_architecture(spec, cache, seed=None)
        case kind:
            raise ModelError(f"unknown kind of model '{kind}'")


def open_folder(path: Path) -> Checkpoint:
    """Open a folder in the format of ``save_pretrained``: ``config.json``, weights and a tokenizer, or that alone."""
    if not path.is_dir():
        raise ModelError(f"model folder {path} does not exist")
    if is_tokenizer_alone(path):
        return Checkpoint(kind="tokenizer", parts={"tokenizer": path})
    if not (path / "config.json").is_file():
        raise ModelError(f"{path} is not a model folder: it has no config.json")
    if not any(path.glob("*.safetensors")) and not any(path.glob("*.bin")):
        raise ModelError(f"{path} has a config.json but no weights (*.safetensors)")
    parts = {"model": path}
    if any((path / name).is_file() for name in TOKENIZER_FILES):
        parts["tokenizer"] = path
    return Checkpoint(kind=kind_of(path), parts=parts)


def is_tokenizer_alone(path: Path) -> bool:
    """Whether a folder holds a tokenizer and neither a configuration nor weights."""
    if (path / "config.json").is_file() or any(path.glob("*.safetensors")):
        return False
    return any((path / name).is_file() for name in TOKENIZER_FILES) or any(path.glob("*.tiktoken"))


def kind_of(path: Path) -> str:
    """Kind of the model in a folder, from the architecture that its configuration names."""
    try:
        config = json.loads((path / "config.json").read_text())
    except ValueError:
        raise ModelError(f"{path / 'config.json'} is not valid JSON") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path / 'config.json'} is no model configuration: it holds a {type(config).__name__}")
    name = (config.get("architectures") or [""])[0]
    if name.endswith("ForMaskedLM"):
        return "masked"
    if name.endswith("ForConditionalGeneration") or config.get("is_encoder_decoder"):
        return "seq2seq"
    return "classifier" if name.endswith("ForSequenceClassification") else "causal"


def configuration(spec: Mapping[str, Any]) -> Any:
    """Return the transformers configuration of an architecture specification (sizes default to small ones)."""
    name = spec.get("architecture", "llama")
    if name not in ARCHITECTURES:
        raise ModelError(f"unknown architecture '{name}'{did_you_mean(name, ARCHITECTURES)}; known: llama, gpt2")
    sizes = {**SIZES, **{key: spec[key] for key in SIZES if spec.get(key) is not None}}
    from transformers import GPT2Config, LlamaConfig

    if name == "gpt2":
        return GPT2Config(
            vocab_size=sizes["vocab_size"], n_embd=sizes["hidden_size"], n_inner=sizes["intermediate_size"],
            n_layer=sizes["layers"], n_head=sizes["heads"], n_positions=sizes["context"],
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, architectures=["GPT2LMHeadModel"],
            bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
    return LlamaConfig(
        vocab_size=sizes["vocab_size"], hidden_size=sizes["hidden_size"],
        intermediate_size=sizes["intermediate_size"], num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"], num_key_value_heads=sizes["kv_heads"],
        max_position_embeddings=sizes["context"], tie_word_embeddings=bool(spec.get("tie_embeddings", True)),
        architectures=["LlamaForCausalLM"], bos_token_id=0, eos_token_id=0, pad_token_id=None,
    )  # fmt: skip


def _write_architecture(spec: Mapping[str, Any], cache: Path, seed: int | None) -> Checkpoint:
    """Write a configuration, with random 16-bit weights where a ``seed`` is given, once into the cache."""
    config = configuration(spec)
    content = json.dumps([config.to_dict(), seed], sort_keys=True, default=str)
    folder = cache / "architectures" / hashlib.sha256(content.encode()).hexdigest()[:16]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent))
        config.save_pretrained(fresh) if seed is None else _write_random_weights(config, seed, fresh)
        try:
            fresh.rename(folder)
        except OSError:  # another step was faster
            shutil.rmtree(fresh)
    if seed is None:
        return Checkpoint(kind="blank", parts={"config": folder})
    return Checkpoint(kind="causal", parts={"model": folder})


def _write_random_weights(config: Any, seed: int, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


def _open_hub(spec: Mapping[str, Any]) -> Checkpoint:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, revision = spec["id"], spec.get("revision") or "main"
    patterns = ["*.json", "*.safetensors", "tokenizer*", "vocab*", "merges.txt"]
    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except LocalEntryNotFoundError:
        raise ModelError(f"model {name}@{revision} is not in the hub's cache and the hub cannot be reached") from None
    except HfHubHTTPError as error:
        raise ModelError(f"model {name}@{revision} cannot be had from the hub: {str(error).splitlines()[0]}") from None
    return open_folder(path)
