"""Checkpoints on disk: a folder with ``checkpoint.json`` and the parts that its stage made.

Parts that a stage passed through are referred to, never copied. A checkpoint is sealed by renaming its finished folder
into place, so a killed worker leaves nothing that looks whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint
from harness.errors import ModelError, StepError

FORMAT = 1
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pt")


def folder_of(cache: Path, step: str) -> Path:
    """Return the folder of the checkpoint that step ``step`` makes."""
    return cache / "checkpoints" / step


def is_sealed(cache: Path, step: str) -> bool:
    """Whether the checkpoint of ``step`` is complete and every part that it refers to is there."""
    try:
        return all(path.exists() for path in load(cache, step).parts.values())
    except (ModelError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def load(cache: Path, step: str) -> Checkpoint:
    """Read the checkpoint of ``step``; ``ModelError`` where it is not in the cache."""
    file = folder_of(cache, step) / "checkpoint.json"
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        raise ModelError(f"checkpoint {step} is not in the cache ({file}); run the step that makes it") from None
    return Checkpoint(
        kind=content["kind"],
        parts={name: _resolve(cache, path) for name, path in content["parts"].items()},
        made=frozenset(content["made"]),
        opened_by=content["opened_by"],
    )


def open_input(job: Mapping[str, Any]) -> Checkpoint:
    """Return what a job starts from: the checkpoint of its input step, or its model; nothing in it is its own."""
    from harness.models.sources import open_model

    if job.get("input"):
        return replace(load(Path(job["cache"]), job["input"]), made=frozenset())
    return open_model(job["model"], cache=Path(job["cache"]))


def seal(checkpoint: Checkpoint, folder: Path, cache: Path, step: str) -> Path:
    """Write ``checkpoint.json`` into ``folder`` (where the parts were made) and rename it into the cache.

    ``StepError`` if a part does not exist or an adapter put it outside its output folder.
    """
    final = folder_of(cache, step)
    parts = {}
    for name, path in checkpoint.parts.items():
        if not path.exists():
            raise StepError(f"part '{name}' of the checkpoint does not exist: {path.name}")
        inside = path.resolve().is_relative_to(folder.resolve())
        if name in checkpoint.made and not inside:
            raise StepError(f"part '{name}' was made outside the step's output folder")
        within = Path("checkpoints") / step / path.resolve().relative_to(folder.resolve()) if inside else None
        parts[name] = str(within) if within else _refer(cache, path)
    content = {
        "format": FORMAT,
        "kind": checkpoint.kind,
        "parts": dict(sorted(parts.items())),
        "made": sorted(checkpoint.made),
        "opened_by": dict(checkpoint.opened_by),
    }
    with (folder / "checkpoint.json").open("w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    if final.exists():
        shutil.rmtree(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(final)
    return final


def weight_files(path: Path) -> list[Path]:
    """The weight files of a part, in a fixed order; pickled ones beside safetensors are not read, and do not count."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    found = [item for item in files if item.suffix in WEIGHT_SUFFIXES and item.is_file()]
    read = {item.parent for item in found if item.name.startswith("model") and item.suffix == ".safetensors"}
    return [item for item in found if item.parent not in read or not item.name.startswith("pytorch_model")]


def content_hash(files: Sequence[Path]) -> str:
    """SHA-256 over the names and bytes of files, as 16 hex digits."""
    digest = hashlib.sha256()
    for item in files:
        digest.update(item.name.encode() + b"\0")
        with item.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _refer(cache: Path, path: Path) -> str:
    resolved, root = path.resolve(), cache.resolve()
    return str(resolved.relative_to(root)) if resolved.is_relative_to(root) else str(resolved)


def _resolve(cache: Path, path: str) -> Path:
    return Path(path) if Path(path).is_absolute() else cache / path
