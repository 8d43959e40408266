"""A tokenizer of the tokenizers library as the vocabulary of a GGUF file.

Two kinds are known: byte-level BPE under GPT-2's pre-tokenizer, and SentencePiece's BPE with byte fallback. Another one
is left out, and the file says so: ids go into llama.cpp and come out of it all the same, text does not. A wrong
pre-tokenizer would split text otherwise than the model learnt it, and nobody would notice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.models.special import automatic_bos

NONE = "no_vocab"


def write_vocabulary(writer: Any, tokenizer: Any, size: int) -> dict[str, Any]:
    """Write pieces, types, merges or scores and special ids; return which model was written, and why none was.

    Entries of the model's vocabulary beyond the tokenizer's are marked unused.
    """
    settings = {} if tokenizer is None else json.loads(tokenizer.backend_tokenizer.to_str())
    kind, reason = _kind(settings)
    writer.add_tokenizer_model(kind)
    if kind == NONE:
        writer.add_vocab_size(size)
        return {"model": kind, "reason": reason}
    pieces, types = _pieces(tokenizer, settings, size)
    writer.add_token_list(pieces)
    writer.add_token_types(types)
    if kind == "gpt2":
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges([" ".join(pair) for pair in _merges(settings)])
    else:
        writer.add_tokenizer_pre("default")
        writer.add_token_scores(_scores(pieces, settings))
        writer.add_add_space_prefix(_prepends(settings))
    for name in ("bos", "eos", "unk"):
        token = getattr(tokenizer, f"{name}_token_id")
        if token is not None:
            getattr(writer, f"add_{name}_token_id")(token)
    writer.add_add_bos_token(automatic_bos(tokenizer) is not None)
    return {"model": kind, "entries": len(pieces)}


def _kind(settings: Mapping[str, Any]) -> tuple[str, str]:
    """``gpt2``, ``llama`` or ``no_vocab``, and why it is the last."""
    if not settings:
        return NONE, "the checkpoint has no tokenizer"
    model, before, normalizer = settings["model"], settings["pre_tokenizer"], settings["normalizer"]
    if model["type"] != "BPE":
        return NONE, f"a {model['type']} vocabulary is not converted"
    if model.get("byte_fallback"):
        plain_pieces = _parts(normalizer) <= {"Prepend", "Replace"} and _parts(before) <= {"Metaspace"}
        if plain_pieces:
            return "llama", ""
        return NONE, "its normaliser or pre-tokenizer is not SentencePiece's plain one"
    plain = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    if before is not None and normalizer is None and plain.items() <= before.items():
        return "gpt2", ""
    return NONE, "of byte-level BPE only GPT-2's pre-tokenizer is converted"


def _parts(part: Mapping[str, Any] | None) -> set[str]:
    """Types of a normaliser or pre-tokenizer, those of a sequence one by one."""
    if not part:
        return set()
    inner = [*part.get("normalizers", ()), *part.get("pretokenizers", ())]
    return {kind for one in inner for kind in _parts(one)} if part["type"] == "Sequence" else {str(part["type"])}


def _pieces(tokenizer: Any, settings: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    from gguf import TokenType

    special = {entry["id"] for entry in settings["added_tokens"] if entry["special"]}
    added = {entry["id"] for entry in settings["added_tokens"]}
    pieces, types = [], []
    for index in range(size):
        piece = tokenizer.convert_ids_to_tokens(index) if index < len(tokenizer) else None
        pieces.append(f"[PAD{index}]" if piece is None else piece)
        if piece is None:
            types.append(TokenType.UNUSED)
        elif index == tokenizer.unk_token_id:
            types.append(TokenType.UNKNOWN)
        elif index in special:
            types.append(TokenType.CONTROL)
        elif index in added:
            types.append(TokenType.USER_DEFINED)
        elif settings["model"].get("byte_fallback") and piece.startswith("<0x"):
            types.append(TokenType.BYTE)
        else:
            types.append(TokenType.NORMAL)
    return pieces, types


def _merges(settings: Mapping[str, Any]) -> list[list[str]]:
    """Pairs of pieces in the order in which they merge."""
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in settings["model"]["merges"]]


def _scores(pieces: list[str], settings: Mapping[str, Any]) -> list[float]:
    """SentencePiece merges the pair of the highest score: a piece scores the less, the later a merge makes it."""
    rank: dict[str, int] = {}
    for place, (left, right) in enumerate(_merges(settings)):
        rank.setdefault(left + right, place)
    return [-float(rank.get(piece, len(rank))) for piece in pieces]


def _prepends(settings: Mapping[str, Any]) -> bool:
    """Whether a space is put in front of a text."""
    before = json.dumps([settings["normalizer"], settings["pre_tokenizer"]])
    return '"Prepend"' in before or '"prepend_scheme": "always"' in before or '"prepend_scheme": "first"' in before
