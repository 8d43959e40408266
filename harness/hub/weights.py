"""Which files of a model are read: one set of weights, its configuration and its tokenizer, and never code.

transformers takes the first of four: one safetensors file, safetensors shards, one pickled file, pickled shards. What
it would not take is not fetched. Pickled weights are opened by torch with ``weights_only``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from harness import plain_json
from harness.errors import ModelError
from harness.plain_text import one_line

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.txt", "vocab.json",
)  # fmt: skip
CONFIGURATION = "config.json"
_BESIDE = (".json", ".jinja", ".txt", ".model", ".tiktoken")
_INDEX = ".index.json"
_TEMPLATES = "additional_chat_templates/"
WEIGHTS = ("model.safetensors", f"model.safetensors{_INDEX}", "pytorch_model.bin", f"pytorch_model.bin{_INDEX}")


def weights_of(names: Collection[str], shards: Callable[[str], Collection[str]]) -> list[str]:
    """The weight files among ``names`` that are read, an index before its shards; empty where there are none.

    ``shards`` reads the names out of an index. ``ModelError`` where one that it names is not among ``names``.
    """
    chosen = next((name for name in WEIGHTS if name in names), None)
    if chosen is None or not chosen.endswith(_INDEX):
        return [] if chosen is None else [chosen]
    found = sorted(shards(chosen))
    if lacking := [name for name in found if name not in names]:
        raise ModelError(f"{chosen} names the weights '{one_line(lacking[0], 100)}', which are not there")
    return [chosen, *found]


def beside_weights(names: Collection[str]) -> list[str]:
    """Configuration, tokenizer and chat templates among ``names``; the configuration last."""
    found = [name for name in names if _is_beside(name) and name != CONFIGURATION]
    return sorted(found) + [CONFIGURATION] * (CONFIGURATION in names)


def shards_of(index: Path) -> set[str]:
    """The files that an index names; ``ModelError`` where it is none."""
    try:
        found: Any = plain_json.read(index)
        named = set(found["weight_map"].values())
        if not named or not all(isinstance(name, str) for name in named):
            raise ValueError("its weight_map names no files")
    except OSError as error:
        raise ModelError(f"{index.name} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index.name} is no index of weights: {one_line(error, 100)}") from None
    return named


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a configuration and every weight file that would be read, or a tokenizer and no model.

    The configuration is fetched last, so that a model whose fetching was cut off is not taken for one that is there.
    """
    if not folder.is_dir():
        return False
    names = {item.name for item in folder.iterdir() if item.is_file()}
    try:
        weights = weights_of(names, lambda index: shards_of(folder / index))
    except ModelError:
        return False
    if CONFIGURATION not in names:
        return not weights and any(name in names for name in TOKENIZER_FILES)
    return bool(weights)


def _is_beside(name: str) -> bool:
    if name.startswith(_TEMPLATES):
        return name.endswith(".jinja") and name.count("/") == 1
    return "/" not in name and name.endswith(_BESIDE) and not name.endswith(_INDEX)
