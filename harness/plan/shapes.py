"""Shapes of models that come without weights: an architecture at given sizes, a published shape by name, or a file's.

``random:llama(layers=4)``, ``random:llama-3-8b``, ``random:./config.json`` (each with ``seed=``). A name that is both
an architecture and a published model (``gpt2``) is the published one where no size is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.contract import param
from harness.errors import ModelError, did_you_mean
from harness.models.architectures import ARCHITECTURES, kind_of_configuration
from harness.models.architectures import SIZES as SMALL
from harness.models.published import LANGUAGE_MODELS, PUBLISHED
from harness.models.sources import read_configuration
from harness.parameters import build_params
from harness.plan.expression import parse_call
from harness.plan.methods import canonical_call

# What a configuration may say of weights that are not there, and of code that is not run.
_LEFT_OUT = ("auto_map", "_name_or_path", "dtype", "torch_dtype", "transformers_version")


@dataclass(frozen=True)
class Architecture:
    """Sizes of a model to be made. What is not given takes the architecture's small default in ``harness.models``."""

    hidden_size: int | None = param(None, "width", low=1)
    intermediate_size: int | None = param(None, "width of the feed-forward layer", low=1)
    layers: int | None = param(None, "number of layers; of an encoder-decoder, of each half", low=1)
    heads: int | None = param(None, "attention heads", low=1)
    kv_heads: int | None = param(None, "key and value heads", low=1)
    vocab_size: int | None = param(None, "entries of the vocabulary", low=1)
    context: int | None = param(None, "longest sequence, tokens", low=2)
    tie_embeddings: bool = param(True, "one matrix for input and output embeddings")


@dataclass(frozen=True)
class Random(Architecture):
    """A model with random weights: what an architecture has, and the seed of the weights."""

    seed: int = param(0, "seed of the weights", low=0)


@dataclass(frozen=True)
class Seeded:
    """What is left to say of a model with random weights whose shape is given whole."""

    seed: int = param(0, "seed of the weights", low=0)


SIZES = tuple(item.name for item in fields(Architecture))


@dataclass(frozen=True)
class RandomModel:
    """A model with random weights as a suite names it: the word in canonical form, its specification, its kind."""

    word: str
    spec: Mapping[str, Any]
    kind: str

    @property
    def entries(self) -> int:
        """Entries of its vocabulary; 0 where a configuration does not say."""
        found = self.spec.get("configuration", self.spec).get("vocab_size")
        return found if isinstance(found, int) else 0


def random_model(word: str, file_of: Callable[[str], Path | None]) -> RandomModel:
    """Read what follows ``random:``; ``file_of`` gives the file where it is a path. ``ModelError`` in one line."""
    shape, bracket, rest = word.partition("(")
    if file := file_of(shape):
        return _shaped(shape, f"random{bracket}{rest}", _configuration(file, shape))
    call = parse_call(f"random{bracket}{rest}")
    if shape in PUBLISHED and (shape not in ARCHITECTURES or {name for name, _ in call.params} <= {"seed"}):
        named = [LANGUAGE_MODELS[PUBLISHED[shape]["model_type"]]]
        return _shaped(shape, str(call), {**PUBLISHED[shape], "architectures": named})
    if shape not in ARCHITECTURES:
        every = list(dict.fromkeys((*ARCHITECTURES, *PUBLISHED)))
        hint = did_you_mean(shape, every) or f"; known: {', '.join(every)}, or the path of a config.json"
        raise ModelError(f"unknown architecture '{shape}'{hint}")
    params = build_params(Random, dict(call.params), owner=f"random:{word}")
    spec = architecture_spec("random", shape, params) | {"seed": params.seed}
    return RandomModel(f"random:{canonical_call(shape, params)}", spec, ARCHITECTURES[shape])


def architecture_spec(kind: str, architecture: str, sizes: Architecture) -> dict[str, Any]:
    """The specification of an architecture at the sizes that are given, its small ones elsewhere."""
    if architecture not in ARCHITECTURES:
        hint = did_you_mean(architecture, ARCHITECTURES)
        raise ModelError(f"unknown architecture '{architecture}'{hint}; known: {', '.join(ARCHITECTURES)}")
    given = {name: getattr(sizes, name) for name in SIZES}
    return {"kind": kind, "architecture": architecture} | {
        name: SMALL.get(name) if value is None else value for name, value in given.items()
    }


def _shaped(shape: str, call: str, configuration: Mapping[str, Any]) -> RandomModel:
    params = build_params(Seeded, dict(parse_call(call).params), owner=f"random:{shape}")
    spec = {"kind": "random", "configuration": dict(configuration), "seed": params.seed}
    return RandomModel(f"random:{canonical_call(shape, params)}", spec, kind_of_configuration(configuration))


def _configuration(file: Path, path: str) -> dict[str, Any]:
    """What a ``config.json``, or that of a folder, says of a model's shape."""
    found = read_configuration(file / "config.json" if file.is_dir() else file, f"random:{path}")
    if not isinstance(found.get("model_type"), str):
        raise ModelError(f"random:{path} is no model configuration: it has no model_type")
    if found.get("quantization_config"):
        raise ModelError(f"random:{path} describes quantised weights: give the configuration of the plain model")
    return {name: value for name, value in found.items() if name not in _LEFT_OUT}
