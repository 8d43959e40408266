"""WordPiece vocabularies: the two ways to split text into words, and the trainers that choose the pieces of words.

A word is cut into a first piece and continuations, which carry a mark (``un ##happy``). Every vocabulary begins with
single characters and grows by merging two neighbours into one piece. Three criteria choose the next merge, and all
three go by the name of WordPiece. With counts ``n_a`` and ``n_b`` of two pieces, ``n`` of the merges of the pair (a, b)
that the text has room for (one in ``aaa``), and N of all pieces:

``likelihood``  what was published: of all merges the one that raises the likelihood of the training text the most
                (Schuster & Nakajima 2012, section 2), here under a unigram model of the pieces as the text is cut
                now: log L = sum over pieces p of f(n_p) - f(N) with f(x) = x log x, so that a merge gains
                f(n_a - n) + f(n_b - n) + f(n) - f(N - n) - f(n_a) - f(n_b) + f(N),
                and with f(n_a - 2n) - f(n_a) for the four terms in n_a and n_b where a and b are the same piece.
``frequency``   what users run: the trainer of the tokenizers library, ``WordPieceTrainer``, merges the pair of highest
                ``n``. It is byte-pair encoding (Sennrich et al. 2016) with a continuation mark.
``ratio``       what tutorials tell: n / (n_a n_b), a monotone of pointwise mutual information. It prefers the rarest
                pairs, those that occur only with each other, and a minimum of ``n`` is all that holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.vocabularies.learning import END, PAD
from harness.vocabularies.merging import CutText, Neighbours, Score
from harness.vocabularies.pieces import byte_of_character

if TYPE_CHECKING:
    import numpy

UNKNOWN = "[UNK]"
# Neither mark can stand at the beginning of a piece by itself: BERT's splitting isolates every ``#``, and GPT-2's 256
# characters for bytes do not have ``▁``.
MARKS = {"bert": "##", "byte_level": "▁"}


def likelihood(counts: Neighbours) -> numpy.ndarray:
    """Gain in the natural log-likelihood of the text under a unigram model of its pieces (formula above), nats."""
    import numpy

    def f(count: Any) -> Any:
        return count * numpy.log(numpy.maximum(count, 1))

    n, left, right = counts.pair, counts.left, counts.right
    apart = f(left - n) + f(right - n) - (f(left) + f(right))
    same = f(numpy.maximum(left - 2 * n, 0)) - f(left)
    found: numpy.ndarray = numpy.where(counts.same, same, apart) + f(n) + (f(counts.total) - f(counts.total - n))
    return found


def frequency(counts: Neighbours) -> numpy.ndarray:
    """How often the pair occurs, as the tokenizers library counts it."""
    return counts.pair


def ratio(counts: Neighbours) -> numpy.ndarray:
    """Occurrences of the pair over the product of those of its two pieces."""
    found: numpy.ndarray = counts.pair / (counts.left.astype(float) * counts.right)
    return found


SCORES: dict[str, Score] = {
    "frequency": frequency, "likelihood": likelihood, "ratio": ratio,
}  # fmt: skip


def count_words(texts: Sequence[str], pre_tokenizer: str) -> dict[str, int]:
    """Count the words of ``texts``, as ``pre_tokenizer`` splits them and writes them."""
    splitter = _splitter(pre_tokenizer)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in splitter.pre_tokenize_str(text))
    return dict(counts)


def first_pieces(words: Mapping[str, int], pre_tokenizer: str) -> list[str]:
    """Special tokens and the single characters that every vocabulary begins with, in a fixed order.

    Of ``byte_level`` all 256 bytes, each as a beginning and as a continuation, so that any word can be written; of
    ``bert``, as the library does, every character that occurs, and as a continuation where it occurs as one.
    """
    if pre_tokenizer == "byte_level":
        start = following = set(byte_of_character())
    else:
        start = {character for word in words for character in word}
        following = {character for word in words for character in word[1:]}
    mark = MARKS[pre_tokenizer]
    return [UNKNOWN, END, PAD, *sorted(start), *(mark + character for character in sorted(following))]


def learn_with_library(
    texts: Sequence[str], first: Sequence[str], pre_tokenizer: str, size: int, min_frequency: int
) -> list[str]:
    """Pieces that the tokenizers library's WordPieceTrainer chooses, in the order of its merges.

    It is given ``first`` as special tokens: left to itself it numbers the continuations in the order of a hash map,
    other at each run, and breaks ties by these numbers.
    """
    from tokenizers import trainers

    tokenizer = tokenizer_of(first, pre_tokenizer)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=min_frequency, special_tokens=list(first),
        continuing_subword_prefix=MARKS[pre_tokenizer], show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    found: dict[str, int] = tokenizer.get_vocab(with_added_tokens=False)
    return sorted(found, key=found.__getitem__)


def learn(
    words: Mapping[str, int], first: Sequence[str], pre_tokenizer: str, size: int, min_frequency: int, criterion: str
) -> list[str]:
    """Pieces in the order in which merges by ``criterion`` make them, ``first`` included; at most ``size``.

    Of equal scores the pair whose left piece is oldest wins, then the one whose right piece is. Ends early where no
    pair that occurs ``min_frequency`` times scores above 0.
    """
    text = CutText(words, first, MARKS[pre_tokenizer], overlapping=criterion == "frequency")
    while len(text.pieces) < size:
        pair = text.best(SCORES[criterion], min_frequency)
        if pair is None:
            break
        text.merge(pair)
    return text.pieces


def tokenizer_of(pieces: Sequence[str], pre_tokenizer: str) -> Any:
    """A ``tokenizers.Tokenizer`` of ``pieces``: takes the longest piece that fits, from the left (Devlin et al. 2019).

    A word of over 100 characters, of ``byte_level`` bytes, is unknown as a whole: the library's own limit, and BERT's.
    """
    from tokenizers import Tokenizer, decoders, models

    mark = MARKS[pre_tokenizer]
    ids = {piece: index for index, piece in enumerate(pieces)}
    model = models.WordPiece(ids, unk_token=UNKNOWN, continuing_subword_prefix=mark, max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _splitter(pre_tokenizer)
    if pre_tokenizer == "byte_level":
        tokenizer.decoder = decoders.Sequence([decoders.Replace(mark, ""), decoders.ByteLevel()])
    else:
        # One space between words and nothing else: guesses about spaces before punctuation are for English.
        tokenizer.decoder = decoders.WordPiece(prefix=mark, cleanup=False)
    return tokenizer


def _splitter(name: str) -> Any:
    from tokenizers import pre_tokenizers

    if name == "byte_level":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    return pre_tokenizers.BertPreTokenizer()
