"""The suite for someone with a model and a file: the methods that usually come into question for what the file holds.

What the file holds is told by its columns; which methods are left out is told by the plan, which skips what makes no
sense on the model, and by the prediction of memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import yaml

from harness.data.local import columns_in
from harness.errors import DataError, UsageError

# Names under which the fields of a view are commonly found, the view's own first.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "instruction", "question"),
    "answer": ("answer", "output", "response", "completion"),
    "chosen": ("chosen",), "rejected": ("rejected",),
    "source": ("source",), "target": ("target",),
    "text": ("text", "content", "sentence"), "label": ("label", "category", "class"),
}  # fmt: skip
# Three rates of each technique, a decade apart around what its paper or library recommends.
RATES = {
    "full_finetune": [1e-5, 1e-4, 1e-3], "lora": [1e-4, 1e-3, 1e-2], "qlora": [1e-4, 1e-3, 1e-2],
    "clm": [1e-5, 1e-4, 1e-3], "sft": [1e-5, 1e-4, 1e-3], "dpo": [1e-6, 1e-5, 1e-4],
    "linear_probe": [1e-3, 1e-2, 1e-1],
}  # fmt: skip
WIDE = "target_modules=all-linear"


@dataclass(frozen=True)
class Look:
    """What is tried on data of one view, and by which tasks it is judged; the first task decides."""

    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    fields: tuple[str, ...]


LOOKS: Mapping[str, Look] = {
    "pairs": Look(
        ("base", "sft(view=pairs)", "sft(view=pairs) > dpo", f"sft(view=pairs) > dpo(rank=8, {WIDE})"),
        ("preference", "generation_speed"), ("prompt", "chosen", "rejected"),
    ),
    "instructions": Look(
        ("base", "int8", "int4", "full_finetune", f"lora({WIDE})", "qlora", f"lora({WIDE}) > int8"),
        ("perplexity(view=instructions)", "generation_speed"), ("prompt", "answer"),
    ),
    "text_to_text": Look(
        ("base", "full_finetune(view=text_to_text)", f"lora(view=text_to_text, {WIDE})"),
        ("text_generation",), ("source", "target"),
    ),
    "labels": Look(
        ("linear_probe", "full_finetune(view=labels)", f"lora(view=labels, {WIDE})", "qlora(view=labels)"),
        ("classification",), ("text", "label"),
    ),
    "text": Look(
        ("base", "int8", "int4", "gptq(group_size=64)", "gguf(type=Q8_0)", "gguf(type=Q4_K_M)", "clm(optimizer=adamw)",
         "clm(optimizer=adamw) > int4"),
        ("perplexity", "generation_speed"), ("text",),
    ),
}  # fmt: skip


def view_and_columns(file: Path) -> tuple[str, dict[str, str | list[str]]]:
    """The view that a file's columns make, and which column is which field; ``DataError`` where they make none."""
    present = columns_in(file)
    if present is None:
        return "text", {"text": "text"}
    named = {field: next((name for name in names if name in present), None) for field, names in ALIASES.items()}
    talk = next((name for name in ("messages", "conversations") if name in present), None)
    for view, look in LOOKS.items():
        if view == "instructions" and talk is not None:
            return view, {"prompt": talk, "answer": talk}
        columns: dict[str, str | list[str]] = {field: name for field in look.fields if (name := named[field])}
        if len(columns) < len(look.fields):
            continue
        if columns.get("prompt") == "instruction" and "input" in present:  # as Alpaca has it
            columns["prompt"] = ["instruction", "input"]
        return view, columns
    wanted = "; ".join(f"{view}: {', '.join(look.fields)}" for view, look in LOOKS.items())
    named_here = shorten(", ".join(present), 200) or "none"
    raise DataError(f"{file.name} has the columns {named_here}, which make no view ({wanted})")


def first_look(
    name: str, model: str, file: Path, *, steps: int, batch: int, sequence: int, without: Sequence[str] = (),
    tunes: bool = True,
) -> str:  # fmt: skip
    """The suite as YAML, its learning rates chosen by trials if it ``tunes``; ``without`` names methods to leave out.

    ``UsageError`` where no method is left.
    """
    view, columns = view_and_columns(file)
    look = LOOKS[view]
    methods = [method for method in look.methods if method not in without]
    if not [method for method in methods if method != "base"]:
        raise UsageError(f"no method is left that fits the memory: {', '.join(without)} are predicted not to")
    tuned = {technique: {"learning_rate": RATES[technique]} for technique in _techniques(methods) if technique in RATES}
    suite: dict[str, Any] = {
        "name": name,
        "question": f"Which method for {Path(model).name or model} on {file.name}?",
        "model": model,
        "data_sets": {"mine": {"path": str(file.resolve()), "columns": columns}},
        "data": "mine",
        "method": methods,
        "tasks": list(look.tasks),
        "budget": {"steps": steps, "batch_size": batch, "sequence_length": sequence, "evaluations": 2},
        **({"baseline": "base"} if "base" in methods else {}),
        **({"tune": {"params": tuned}} if tuned and tunes else {}),
    }
    return yaml.safe_dump(suite, sort_keys=False, width=120)


def slug(text: str) -> str:
    """A name that a suite may have."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "data"


def _techniques(methods: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for method in methods for name in re.findall(r"(?:^|> )([a-z_0-9]+)", method)))

