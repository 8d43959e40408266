"""The bytes that each entry of a vocabulary stands for, read off the pieces as the tokenizers library writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "▁"


def bytes_of_pieces(tokenizer: Any, settings: Mapping[str, Any]) -> list[bytes | None]:
    """For each id the bytes that it stands for inside a text; None for special and unknown tokens.

    ``settings`` is the parsed ``tokenizer.json``. Pieces are byte-level where its decoder is (one character is one
    byte), else text in which a leading continuation mark stands for nothing, ``▁`` for a space, ``<0xAB>`` for a byte.
    """
    special = {entry["id"] for entry in settings.get("added_tokens") or () if entry["special"]}
    model = settings["model"]
    prefix = model.get("continuing_subword_prefix") or ""
    byte_level = "ByteLevel" in _types(settings.get("decoder"))
    metaspace = bool({"Metaspace", "Replace"} & _types(settings.get("decoder")))
    unknown = model.get("unk_token")
    found: list[bytes | None] = []
    for index in range(tokenizer.get_vocab_size()):
        piece = tokenizer.id_to_token(index)
        if index in special or piece is None or piece == unknown or index == model.get("unk_id"):
            found.append(None)
            continue
        found.append(_bytes_of(piece, prefix, byte_level, metaspace))
    return found


def byte_fallbacks(tokenizer: Any) -> frozenset[int]:
    """Ids of the pieces ``<0x00>`` to ``<0xFF>``."""
    found = (tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
    return frozenset(token for token in found if token is not None)


def _bytes_of(piece: str, prefix: str, byte_level: bool, metaspace: bool) -> bytes:
    if match := _BYTE.fullmatch(piece):
        return bytes([int(match[1], 16)])
    if prefix and piece.startswith(prefix) and len(piece) > len(prefix):
        piece = piece[len(prefix) :]
    if byte_level:
        return bytes(byte_of_character()[character] for character in piece)
    return (piece.replace(_SPACE, " ") if metaspace else piece).encode()


@cache
def byte_of_character() -> dict[str, int]:
    """The byte of each character of a byte-level piece (GPT-2's table: printable bytes stand for themselves)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


def _types(part: Any) -> set[str]:
    """Types of a component and of everything nested in it."""
    if isinstance(part, Mapping):
        inner = [_types(value) for value in part.values() if isinstance(value, Mapping | list)]
        return set().union({str(part.get("type"))}, *inner)
    return set().union(*(_types(value) for value in part)) if isinstance(part, list) else set()
