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

from harness import plain_json
from harness.contract import Checkpoint
from harness.errors import ModelError
from harness.hub.cache import Repository
from harness.hub.weights import TOKENIZER_FILES, is_complete, shards_of, weights_of
from harness.models import drawn
from harness.models.architectures import auto_class, configuration, kind_of_configuration
from harness.plain_text import one_line

EMBEDDED = Path(__file__).parent / "embedded"


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


def embedded_tokenizer_fits(entries: int) -> bool:
    """Whether a model of so many entries can read text that the embedded tokenizer has cut.

    Random weights have no tokenizer of their own, and without one nothing can be trained on them.
    """
    return entries >= int(plain_json.read(EMBEDDED / "config.json")["vocab_size"])


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
    _check_shards(path)
    parts = {"model": path}
    if any((path / name).is_file() for name in TOKENIZER_FILES):
        parts["tokenizer"] = path
    return Checkpoint(kind=kind_of(path), parts=parts)


def _check_shards(path: Path) -> None:
    """``ModelError`` where an index names weights that the folder lacks."""
    try:
        weights_of({item.name for item in path.iterdir()}, lambda index: shards_of(path / index))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def is_tokenizer_alone(path: Path) -> bool:
    """Whether a folder holds a tokenizer and neither a configuration nor weights."""
    if (path / "config.json").is_file() or any(path.glob("*.safetensors")):
        return False
    return any((path / name).is_file() for name in TOKENIZER_FILES) or any(path.glob("*.tiktoken"))


def kind_of(path: Path) -> str:
    """Kind of the model in a folder, from the architecture that its configuration names."""
    return kind_of_configuration(read_configuration(path / "config.json"))


def read_configuration(file: Path, named: str = "") -> dict[str, Any]:
    """What a ``config.json`` says, which messages call ``named``; ``ModelError`` where it says nothing of a model.

    One that would have transformers fetch and run an attention kernel of a repository is refused.
    """
    called = named or str(file)
    try:
        config = plain_json.read(file)
    except plain_json.NotPlain as error:
        raise ModelError(f"{called} is not valid JSON: {error}") from None
    except OSError as error:
        raise ModelError(f"cannot read {called}: {error.strerror}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{called} is no model configuration: it holds a {type(config).__name__}")
    if found := _foreign_kernel(config):
        kernel = one_line(found, 80)
        raise ModelError(f"{called} asks for the attention kernel '{kernel}' of a repository, whose code is not run")
    return config


def _foreign_kernel(value: Any) -> str | None:
    """A kernel that a configuration, or one within it, would have transformers fetch and run."""
    if isinstance(value, dict):
        for key, item in value.items():
            if "attn_implementation" in key and isinstance(item, str | dict) and "/" in str(item):
                return str(item)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for part in parts if (found := _foreign_kernel(part)) is not None), None)


def _write_architecture(spec: Mapping[str, Any], cache: Path, seed: int | None) -> Checkpoint:
    """Write a configuration once into the cache; where a ``seed`` is given, with random weights or how to draw them."""
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
    lent = {"tokenizer": EMBEDDED} if embedded_tokenizer_fits(config.vocab_size) else {}
    return Checkpoint(kind=kind_of_configuration(config.to_dict()), parts={"model": folder, **lent})


def _write_random_weights(config: Any, seed: int, folder: Path) -> None:
    """Write 16-bit weights, or of a large model the mark by which they are drawn where they are used."""
    import torch

    maker = auto_class(kind_of_configuration(config.to_dict()))
    parameters = sum(one.numel() for one in drawn.skeleton(maker, config).parameters())
    if 2 * parameters > drawn.LARGEST_FILE_BYTES:
        drawn.write_mark(folder, config, seed, parameters)
        return
    torch.manual_seed(seed)
    maker.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


def _open_hub(spec: Mapping[str, Any]) -> Checkpoint:
    """Open a model in the hub's cache at the commit that was planned. Nobody is asked: ``harness prepare`` fetches."""
    repository, revision = Repository("model", spec["id"]), spec.get("revision") or "main"
    commit = spec.get("commit") or repository.commit(revision)
    if commit is None or not is_complete(repository.snapshot(commit)):
        what = f"{spec['id']}@{spec.get('commit') or revision}"
        raise ModelError(f"model {what} is not in the hub's cache here; fetch it with `harness prepare hub:{what}`")
    return open_folder(repository.snapshot(commit))
