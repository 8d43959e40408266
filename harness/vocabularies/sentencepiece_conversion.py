"""A sentencepiece model as a ``tokenizers.Tokenizer`` that gives the same ids, so that transformers can open it.

For ``bpe`` without normalisation both libraries agree on every text. They cannot agree, and a test shows each case, on:

- *Ties* (``unigram``): sentencepiece sums log-probabilities in float32, tokenizers in float64, so of two segmentations
  whose sums are equal but for rounding (``)) )`` and ``) ))``) each may take another.
- *Names* (``unigram`` without byte fallback): text that spells a special token of which *no* character is in any piece.
- *Combining marks* (every rule but ``identity``): sentencepiece applies the longest rule at each place, tokenizers the
  first that fits a grapheme cluster below 6 bytes, else one a character. Composing first (NFC) makes them agree on text
  in NFC or NFD; what stays are marks out of canonical order, U+0344 and the like, and marks behind a character that
  itself has a rule (a no-break space; with case folding a capital) but no composed form.

Special tokens in text are read as such by transformers unless ``split_special_tokens`` is set, never by sentencepiece.
"""

from __future__ import annotations

from typing import Any

# Longer than the longest name of a special token or byte, in characters.
_LONGEST_NAME = 16


def read_model(model: bytes) -> Any:
    """Parse a serialised model into the library's ``ModelProto``."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    return ModelProto.FromString(model)


def tokenizer_of(model: bytes) -> Any:
    """Return the ``tokenizers.Tokenizer`` of a serialised sentencepiece model of type unigram or BPE."""
    from tokenizers import Tokenizer

    proto = read_model(model)
    is_unigram = proto.trainer_spec.model_type == proto.trainer_spec.UNIGRAM
    tokenizer = Tokenizer(_unigram(proto) if is_unigram else _byte_pairs(proto))
    if is_unigram:
        tokenizer.pre_tokenizer = _known_from_unknown(proto)
    tokenizer.normalizer = _normalizer(proto.normalizer_spec)
    tokenizer.decoder = _decoder(proto.normalizer_spec)
    return tokenizer


def _normal_scores(proto: Any) -> dict[str, float]:
    """Score of each piece that stands for text as it is written: no special token, no byte."""
    return {entry.piece: entry.score for entry in proto.pieces if entry.type == entry.NORMAL}


def _unigram(proto: Any) -> Any:
    from tokenizers import models

    scores = _normal_scores(proto)
    # Below every segmentation of its name into known characters: sentencepiece finds no such piece in a text.
    never = _LONGEST_NAME * min(scores.values()) - 1
    vocabulary = [(entry.piece, scores.get(entry.piece, never)) for entry in proto.pieces]
    return models.Unigram(vocabulary, proto.trainer_spec.unk_id, proto.trainer_spec.byte_fallback)


def _known_from_unknown(proto: Any) -> Any:
    """Set apart the characters that no piece has, which are tokens of their own anyway.

    Else text like ``<unk>`` or ``<0x0A>``, with a ``<`` that is unknown, would be found in the vocabulary as a whole.
    A run of them stays together, because both libraries make it one unknown token, unless each is spelt in bytes.
    """
    from tokenizers import Regex, pre_tokenizers

    known = "".join(rf"\x{{{ord(character):x}}}" for character in sorted(set("".join(_normal_scores(proto)))))
    run = "" if proto.trainer_spec.byte_fallback else "+"
    return pre_tokenizers.Split(Regex(f"[^{known}]{run}"), "isolated")


def _byte_pairs(proto: Any) -> Any:
    """Merges in the order of the pieces that they make: sentencepiece merges any two pieces whose sum is a piece."""
    from tokenizers import models

    scores = _normal_scores(proto)
    merges = [
        (piece[:cut], piece[cut:])
        for piece in sorted(scores, key=lambda piece: -scores[piece])
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    vocabulary = {entry.piece: index for index, entry in enumerate(proto.pieces)}
    spec = proto.trainer_spec
    return models.BPE(vocabulary, merges, unk_token=spec.unk_piece, fuse_unk=True, byte_fallback=spec.byte_fallback)


def _normalizer(spec: Any) -> Any:
    """The rules of the model, then what it does to spaces, which it writes as ``▁``."""
    from tokenizers import Regex, normalizers

    steps: list[Any] = []
    if spec.precompiled_charsmap:
        # The nmt rules make a space of either; as one grapheme cluster "\r\n" would become one space instead of two.
        steps += [normalizers.Replace("\r", "\n")] if spec.name.startswith("nmt_") else []
        steps += [normalizers.NFC(), normalizers.Precompiled(spec.precompiled_charsmap)]
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(pattern), by) for pattern, by in ((r"\A +", ""), (" {2,}", " "))]
        # sentencepiece trims the end after spaces have become "▁", so that a "▁" of the text goes too.
        steps += [normalizers.Replace(Regex(r"[ ▁]+\z"), "")]
    steps += [normalizers.Prepend(" ")] if spec.add_dummy_prefix else []
    return normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])


def _decoder(spec: Any) -> Any:
    from tokenizers import decoders

    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if spec.add_dummy_prefix else steps)
