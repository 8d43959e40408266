"""Vocabularies as tiktoken runs them: byte strings with ranks, a splitting pattern, and a ``Codec`` over them.

tiktoken has no trainer. It merges, of all neighbours whose joined bytes are in the vocabulary, the one of lowest rank,
and a token's rank is its id. The tokenizers library merges the pairs of a list, in the list's order. The two agree
where ids follow the merges and every token is split by the lower ranks into the pair that the list makes it of;
``vocabulary_of`` refuses a tokenizer where that does not hold.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ModelError, StepError
from harness.vocabularies.huggingface import read_tokenizer
from harness.vocabularies.learning import END
from harness.vocabularies.pieces import byte_of_character, bytes_of_pieces

RANKS, FACTS = "encoding.tiktoken", "encoding.json"


@dataclass(frozen=True)
class Vocabulary:
    """What tiktoken needs: ranks (which are ids) of byte strings, the pattern that splits text, special tokens."""

    pattern: str
    ranks: Mapping[bytes, int]
    special: Mapping[str, int]


def vocabulary_of(folder: Path) -> Vocabulary:
    """Read the vocabulary of a tokenizer folder: tiktoken's own file, or a byte-level BPE of the tokenizers library."""
    own = sorted(folder.glob("*.tiktoken"))
    if own:
        return _read(own[0])
    return _from_tokenizer(read_tokenizer(folder))


def vocabulary_named(name: str) -> Vocabulary:
    """The encoding that tiktoken knows by ``name``, from its cache (``TIKTOKEN_CACHE_DIR``); ``ModelError`` without."""
    import tiktoken

    try:
        found = tiktoken.get_encoding(name)
    except ValueError as error:
        raise ModelError(f"tiktoken: {str(error).splitlines()[0]}") from None
    except Exception as error:  # requests has many ways to say that there is no network
        raise ModelError(
            f"encoding '{name}' is not at hand ({type(error).__name__}): "
            "set TIKTOKEN_CACHE_DIR to a folder that has its file"
        ) from None
    return Vocabulary(found._pat_str, found._mergeable_ranks, found._special_tokens)


def write(vocabulary: Vocabulary, folder: Path) -> None:
    """Write tiktoken's own file, the facts that it lacks, and a ``tokenizer.json`` that gives the same ids."""
    from transformers import PreTrainedTokenizerFast

    lines = (base64.b64encode(token) + b" %d\n" % rank for token, rank in vocabulary.ranks.items())
    (folder / RANKS).write_bytes(b"".join(lines))
    facts = {"pattern": vocabulary.pattern, "special_tokens": dict(vocabulary.special)}
    (folder / FACTS).write_text(json.dumps(facts, indent=1))
    end = END if END in vocabulary.special else next(iter(vocabulary.special), None)
    PreTrainedTokenizerFast(
        tokenizer_object=_to_tokenizer(vocabulary), bos_token=end, eos_token=end, pad_token=_padding(vocabulary) or end
    ).save_pretrained(folder)


class TiktokenCodec:
    """Encodes and decodes with tiktoken (Rust); a batch runs on Python threads, which its Rust part lets run."""

    library = "tiktoken"
    unknown_id: int | None = None
    byte_ids: frozenset[int] = frozenset()

    def __init__(self, folder: Path) -> None:
        import tiktoken

        self.vocabulary = vocabulary_of(folder)
        ranks, special = dict(self.vocabulary.ranks), dict(self.vocabulary.special)
        self.encoding = tiktoken.Encoding(
            folder.name, pat_str=self.vocabulary.pattern, mergeable_ranks=ranks, special_tokens=special
        )
        self.vocabulary_size = len(ranks) + len(special)
        self.threads = 1
        self._pieces = {rank: token for token, rank in ranks.items()}

    def use_threads(self, threads: int) -> None:
        """Set the number of threads of every batch."""
        self.threads = threads

    def encode(self, text: str) -> list[int]:
        """Token ids of one text."""
        return list(self.encoding.encode_ordinary(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of one sequence of ids; bytes that are not UTF-8 become U+FFFD."""
        return str(self.encoding.decode(ids))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        return list(self.encoding.encode_ordinary_batch(list(texts), num_threads=self.threads))

    def decode_batch(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """Text of each sequence."""
        return list(self.encoding.decode_batch(sequences, num_threads=self.threads))

    def piece(self, token: int) -> bytes | None:
        """Bytes that a token stands for; None for special ones."""
        return self._pieces.get(token)

    def describe(self) -> dict[str, Any]:
        """Library, vocabulary and the pattern that splits text."""
        return {"library": self.library, "vocabulary": self.vocabulary_size, "pattern": self.vocabulary.pattern}


def split_of_token(token: bytes, ranks: Mapping[bytes, int]) -> list[bytes]:
    """Parts into which the ranks below that of ``token`` merge its bytes: the pair that it is made of."""
    below, parts = ranks[token], [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 1:
        candidates = [(ranks.get(a + b, below), at) for at, (a, b) in enumerate(itertools.pairwise(parts))]
        rank, at = min(candidates)
        if rank >= below:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def _read(file: Path) -> Vocabulary:
    """Read a ``.tiktoken`` file; what it lacks is in ``encoding.json`` beside it, else as in GPT-2."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise ModelError(f"{file.name}:{number}: not a token in base64 and its rank") from None
    facts: dict[str, Any] = {}
    if (file.parent / FACTS).is_file():
        facts = json.loads((file.parent / FACTS).read_text())
    special = facts.get("special_tokens", {END: max(ranks.values(), default=-1) + 1})
    return _checked(Vocabulary(facts.get("pattern", _gpt2_pattern()), ranks, special), file.name)


def _from_tokenizer(tokenizer: Any) -> Vocabulary:
    settings = json.loads(tokenizer.to_str())
    pattern = _pattern(settings)
    if settings["model"]["type"] != "BPE" or pattern is None or settings.get("normalizer") is not None:
        kind = settings["model"]["type"]
        raise StepError(f"tiktoken runs byte-level BPE without a normaliser; this tokenizer is {kind} of another kind")
    pieces = bytes_of_pieces(tokenizer, settings)
    special = {entry["content"]: entry["id"] for entry in settings["added_tokens"]}
    names = [tokenizer.id_to_token(index) for index in range(len(pieces))]
    ranks = {
        piece: index for index, piece in enumerate(pieces) if piece is not None and names[index] not in special
    }  # fmt: skip
    found = _checked(Vocabulary(pattern, ranks, special), "the tokenizer")
    _must_merge_alike(found, settings["model"]["merges"])
    return found


def _must_merge_alike(vocabulary: Vocabulary, merges: Sequence[Any]) -> None:
    """Raise ``StepError`` where a token is not made of the pair that the list of merges says, or not in its order."""
    before, made = -1, set()
    for merge in merges:
        first, second = (_bytes(part) for part in (merge.split(" ") if isinstance(merge, str) else merge))
        rank = vocabulary.ranks.get(first + second, -1)
        if rank <= before or split_of_token(first + second, vocabulary.ranks) != [first, second]:
            raise StepError(f"tiktoken merges by id, and would not make the token {first + second!r} as the merges do")
        before = rank
        made.add(first + second)
    if unmade := [token for token in vocabulary.ranks if len(token) > 1 and token not in made]:
        raise StepError(f"tiktoken would make the token {unmade[0]!r}, which no merge of the tokenizer makes")


def _checked(vocabulary: Vocabulary, where: str) -> Vocabulary:
    missing = [byte for byte in range(256) if bytes([byte]) not in vocabulary.ranks]
    if missing:
        raise StepError(f"tiktoken needs all 256 bytes in the vocabulary; {where} lacks {len(missing)} of them")
    return vocabulary


def _to_tokenizer(vocabulary: Vocabulary) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    characters = {byte: character for character, byte in byte_of_character().items()}

    def text(token: bytes) -> str:
        return "".join(characters[byte] for byte in token)

    ordered = sorted(vocabulary.ranks, key=vocabulary.ranks.__getitem__)
    splits = [split_of_token(token, vocabulary.ranks) for token in ordered if len(token) > 1]
    # A token that the lower ranks do not make of two parts is never reached by merging, in tiktoken either.
    merges = [(text(pair[0]), text(pair[1])) for pair in splits if len(pair) == 2]
    # Special tokens stand in the model's vocabulary too: added ones would be given other ids.
    entries = {text(token): rank for token, rank in vocabulary.ranks.items()} | dict(vocabulary.special)
    tokenizer = Tokenizer(models.BPE(entries, merges))
    if vocabulary.pattern == _gpt2_pattern():
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(vocabulary.pattern), behavior="isolated")
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    known = {rank: token for token, rank in vocabulary.special.items()}
    tokenizer.add_special_tokens([AddedToken(known[rank], special=True, normalized=False) for rank in sorted(known)])
    return tokenizer


def _pattern(settings: Mapping[str, Any]) -> str | None:
    """The pattern that splits text before the byte-level step; None where there is none that tiktoken could run."""
    given = settings.get("pre_tokenizer") or {}
    steps = given.get("pretokenizers", [given])
    if steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    if len(steps) == 1:
        return _gpt2_pattern() if steps[0].get("use_regex", True) else None
    first = steps[0]
    plain = len(steps) == 2 and first.get("type") == "Split" and not steps[1].get("use_regex", True)
    return first["pattern"].get("Regex") if plain and first.get("behavior") == "Isolated" else None


def _gpt2_pattern() -> str:
    from tiktoken_ext.openai_public import r50k_pat_str

    return str(r50k_pat_str)


def _bytes(piece: str) -> bytes:
    return bytes(byte_of_character()[character] for character in piece)


def _padding(vocabulary: Vocabulary) -> str | None:
    return next((name for name in vocabulary.special if "pad" in name), None)
