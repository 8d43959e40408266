"""A student: a smaller model of its teacher's family, with fresh weights or with layers that the teacher gives it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import StepError
from harness.models.architectures import auto_class
from harness.models.distilbert import distilbert_of


@dataclass(frozen=True)
class StudentShape:
    """What differs from the teacher: ``layers`` (half of them where not given), widths, and where weights come from.

    ``family`` ``distilbert`` makes a DistilBERT of a BERT: no token types, no pooler.
    """

    layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    from_teacher: bool = True
    family: str | None = None


def make_student(teacher: Any, shape: StudentShape, kind: str) -> tuple[Any, list[int]]:
    """The student, every weight trainable, and which of the teacher's layers it begins with (none: fresh weights).

    Fresh weights are drawn from torch's current seed. ``StepError`` where the teacher cannot give what is asked.
    """
    config = copy.deepcopy(teacher.config)
    config.use_cache = True  # a teacher that transformers trained may have it switched off
    depth = int(config.num_hidden_layers)
    layers = shape.layers or max(1, depth // 2)
    if layers > depth and shape.from_teacher:
        raise StepError(f"a student of {layers} layers cannot begin with those of a teacher of {depth}: init=fresh")
    kinds = alternate_layers(depth, layers) if layers <= depth else []
    chosen = kinds if shape.from_teacher else []
    config.num_hidden_layers = layers
    for name in ("layer_types", "no_rope_layers"):
        if isinstance(getattr(config, name, None), list):
            setattr(config, name, [getattr(config, name)[number] for number in kinds])
    _set_widths(config, shape)
    if shape.family == "distilbert":
        return distilbert_of(teacher, chosen).requires_grad_(True), chosen
    options = {"attn_implementation": attention} if (attention := teacher.config._attn_implementation) else {}
    student = auto_class(kind).from_config(config, dtype=teacher.dtype, **options).to(teacher.device)
    if chosen:
        _take_weights(student, teacher, chosen)
    return student.requires_grad_(True), chosen


def alternate_layers(teacher: int, student: int) -> list[int]:
    """Evenly spread layers with the first and the last: of 12 six are 0, 2, 4, 7, 9, 11, as DistilBERT's are."""
    if student == 1:
        return [0]
    return [_half_up(number * (teacher - 1) / (student - 1)) for number in range(student)]


def layers_of(model: Any) -> tuple[str, Sequence[Any]]:
    """Name and modules of a transformer's layers: the longest list of modules that it has."""
    import torch

    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)]
    if not lists:
        raise StepError(f"{type(model).__name__} has no list of layers to make a student of")
    name, modules = max(lists, key=lambda pair: len(pair[1]))
    return name, modules  # type: ignore[return-value]


def _half_up(value: float) -> int:
    return int(value + 0.5)


def _set_widths(config: Any, shape: StudentShape) -> None:
    """Give the configuration the widths that were asked for, under the names that its family has for them."""
    asked = {"hidden_size": shape.hidden_size, "intermediate_size": shape.intermediate_size}
    for name, value in asked.items():
        if value is None:
            continue
        own = "n_inner" if (config.model_type, name) == ("gpt2", "intermediate_size") else name
        given = getattr(config, own, None) or 4 * config.hidden_size
        if shape.from_teacher and value != given:
            raise StepError(f"a student of another {name} cannot begin with the teacher's layers: init=fresh")
        setattr(config, own, value)
    heads = config.num_attention_heads
    if config.hidden_size % heads:
        raise StepError(f"hidden_size {config.hidden_size} is not a multiple of {heads} heads")
    if shape.hidden_size is not None and getattr(config, "head_dim", None) is not None:
        config.head_dim = config.hidden_size // heads


def _take_weights(student: Any, teacher: Any, chosen: Sequence[int]) -> None:
    """Copy everything that is no layer, and layer by layer the chosen ones."""
    prefix, given = layers_of(teacher)
    _, own = layers_of(student)
    outside = {name: value for name, value in teacher.state_dict().items() if not name.startswith(f"{prefix}.")}
    missing, unexpected = student.load_state_dict(outside, strict=False)
    left = [name for name in missing if not name.startswith(f"{prefix}.")]
    if left or unexpected:
        raise StepError(f"the student does not take the teacher's weights: {[*left, *unexpected][:3]}")
    for layer, number in zip(own, chosen, strict=True):
        layer.load_state_dict(given[number].state_dict())
