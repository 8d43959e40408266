"""Training and validation examples from a data view: packed text, or prompts with a loss on the answer only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract import Dataset
from harness.data.columns import SOURCE_END
from harness.data.windows import numbered_windows, pack
from harness.errors import DataError
from harness.models.chat import Prompt, by_template, render_answer, render_prompt
from harness.models.scoring import IGNORED
from harness.models.special import automatic_bos


@dataclass(frozen=True)
class Scored:
    """One sequence to be scored: token ids, which of the targets ``ids[1:]`` count, and their UTF-8 bytes.

    ``document`` is the place of the document that it is cut from.
    """

    ids: list[int]
    counted: list[bool]
    bytes: int
    document: int


@dataclass(frozen=True)
class PackedText:
    """Training examples cut from running text, and the UTF-8 bytes of that text over its tokens."""

    examples: list[dict[str, list[int]]]
    bytes_per_token: float


def packed_text(data: Dataset, tokenizer: Any, length: int, *, loss_across_documents: bool = False) -> PackedText:
    """Training blocks of ``length`` tokens: documents one after another, an end-of-text token after each.

    A document's first token carries no loss (it would be predicted from another document) unless that is asked for.
    """
    texts = data.view("text", "train")
    documents = tokenize(tokenizer, texts)
    end = tokenizer.eos_token_id
    blocks = packed_blocks(data, documents, length, end)
    labels = blocks if loss_across_documents else pack([_without_first(item) for item in documents], length, None, end)
    examples = [{"input_ids": block, "labels": label} for block, label in zip(blocks, labels, strict=True)]
    return PackedText(examples, bytes_per_token(texts, documents))


def packed_blocks(data: Dataset, documents: Sequence[Sequence[int]], length: int, end: int) -> list[list[int]]:
    """Blocks of ``length`` numbers, the documents one after another with ``end`` after each; at least one."""
    blocks = pack(documents, length, None, end)
    if not blocks:
        raise DataError(f"data set '{data.name}' has too little text for one block of {length} tokens")
    return blocks


def bytes_per_token(texts: Sequence[str], documents: Sequence[Sequence[int]]) -> float:
    """UTF-8 bytes of texts over their tokens, an end-of-text token after each counted."""
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return size / sum(len(document) + 1 for document in documents)


def prompts_and_answers(data: Dataset, view: str, split: str) -> list[dict[str, Any]]:
    """Items {prompt, answer} of ``instructions``, or of ``text_to_text``: the source and a line break, the target."""
    items: list[dict[str, Any]] = data.view(view, split)
    if view == "instructions":
        return items
    return [{"prompt": item["source"] + SOURCE_END, "answer": item["target"]} for item in items]


def instruction_examples(
    data: Dataset, tokenizer: Any, length: int, view: str = "instructions"
) -> list[dict[str, list[int]]]:
    """Training examples of at most ``length`` tokens whose loss counts the answer and the end of text only."""
    examples = []
    for item in prompts_and_answers(data, view, "train"):
        prompt, answer = encode_pair(tokenizer, item["prompt"], item["answer"])
        ids = (prompt + answer)[:length]
        if len(ids) > len(prompt):
            examples.append({"input_ids": ids, "labels": ([IGNORED] * len(prompt) + answer)[:length]})
    if not examples:
        raise DataError(f"no item of view '{view}' in '{data.name}' fits {length} tokens with its answer")
    return examples


def encode_pair(tokenizer: Any, prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
    """Token ids of a prompt and of its answer, the end-of-text token included in the answer."""
    if not isinstance(prompt, str):
        return prompt_ids(prompt, tokenizer), answer_ids(prompt, answer, tokenizer)
    first, second = tokenize(tokenizer, [prompt, answer])
    return first, [*second, tokenizer.eos_token_id]


def prompt_ids(prompt: Prompt, tokenizer: Any) -> list[int]:
    """Token ids of a prompt as a model reads it, behind the beginning of text where the tokenizer puts one.

    A chat template decides on its own: it has the beginning of text in it, or wants none.
    """
    ids = tokenize(tokenizer, [render_prompt(prompt, tokenizer)])[0]
    start = None if by_template(prompt, tokenizer) else automatic_bos(tokenizer)
    return ids if start is None or ids[:1] == [start] else [start, *ids]


def answer_ids(prompt: Prompt, answer: str, tokenizer: Any) -> list[int]:
    """Token ids of an answer up to the end of text: the template's own, or one behind it.

    What a template writes after its end (a line break before the next turn) no model is asked to write.
    """
    ids = tokenize(tokenizer, [render_answer(prompt, answer, tokenizer)])[0]
    end = tokenizer.eos_token_id
    if by_template(prompt, tokenizer) and end in ids:
        last = len(ids) - ids[::-1].index(end)
        if not tokenizer.decode(ids[last:]).strip():
            return ids[:last]
    return ids if ids and ids[-1] == end else [*ids, end]


def tokenize(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens: what calling ``tokenizer`` gives, without its bookkeeping."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return [found.ids for found in backend.encode_batch_fast(list(texts), add_special_tokens=False)]


def text_to_score(
    data: Dataset, split: str, tokenizer: Any, byte_lengths: Sequence[int], length: int, limit: int, bos: int | None
) -> list[Scored]:
    """Windows of held-out text: at most ``limit``, non-overlapping, every target counted."""
    documents = tokenize(tokenizer, data.view("text", split))
    windows = numbered_windows(documents, length, bos, limit)
    return [_whole(window, byte_lengths, place) for place, window in windows]


def answers_to_score(
    items: Iterable[Mapping[str, str]], tokenizer: Any, byte_lengths: Sequence[int], length: int, limit: int
) -> list[Scored]:
    """Held-out instructions in their order, at most ``limit`` that fit ``length`` tokens; answers' targets count."""
    found: list[Scored] = []
    for place, item in enumerate(items):
        prompt, answer = encode_pair(tokenizer, item["prompt"], item["answer"])
        ids = prompt + answer
        if len(ids) <= length and prompt:
            counted = [False] * (len(prompt) - 1) + [True] * len(answer)
            found.append(Scored(ids, counted, sum(byte_lengths[token] for token in answer), place))
        if len(found) == limit:
            break
    return found


def _without_first(document: Sequence[int]) -> list[int]:
    return [IGNORED, *document[1:]] if document else []


def _whole(ids: list[int], byte_lengths: Sequence[int], document: int) -> Scored:
    return Scored(ids, [True] * (len(ids) - 1), sum(byte_lengths[token] for token in ids[1:]), document)
