"""Masked language modelling: which tokens are hidden, and what a model is trained and validated on.

A share of the tokens is chosen; of these 80 % become the mask token, 10 % a random one, 10 % stay (Devlin et al. 2019,
arXiv:1810.04805). Masks are drawn anew for every step (Liu et al. 2019, arXiv:1907.11692) by transformers'
``DataCollatorForLanguageModeling``, each token by itself. Special tokens (the end of a document) are never chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.contract import Dataset, Job
from harness.data.windows import evaluation_windows
from harness.errors import StepError
from harness.models.masked import Masked, predict
from harness.models.scoring import IGNORED
from harness.training.examples import bytes_per_token, packed_blocks, tokenize
from harness.training.loop import Evaluate
from harness.training.pretraining import VALIDATION_WINDOWS, Objective
from harness.training.special_tokens import add_mask

# Masks of validation and of scoring are the same for every method and seed.
FIXED_SEED = 0
NO_WORD = -1


class Masker:
    """A collator: equally long examples in, a batch with masked ``input_ids`` and ``labels`` out.

    Masks are drawn example by example, so that accumulated micro-batches are masked as one batch. With ``whole_word``
    each word is chosen with the probability ``share``, so that the same share of tokens is expected; examples then
    carry ``words``, the number of each token's word. transformers' own ``whole_word_mask`` is not used: it takes tokens
    whose offsets touch for one word, which joins a whole text of byte-level pieces, and it drops the 80/10/10 rule.
    """

    def __init__(self, tokenizer: Any, share: float, whole_word: bool, seed: int) -> None:
        from transformers import DataCollatorForLanguageModeling

        self.share, self.whole_word = share, whole_word
        # Whole words are chosen here; the collator then replaces every token that it may.
        self.collator = DataCollatorForLanguageModeling(
            tokenizer, mlm_probability=1.0 if whole_word else share, seed=seed
        )
        self.collator.generator = self.collator.get_generator(seed)

    def __call__(self, examples: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
        """Tensors int64 [examples, length]: ``input_ids``, ``attention_mask`` and ``labels`` (-100: not chosen)."""
        import torch

        rows = [self._mask(example) for example in examples]
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    def sequences(self, windows: Sequence[dict[str, list[int]]]) -> list[Masked]:
        """The windows, each masked once, as a scorer takes them; one in which nothing was chosen is left out."""
        found = []
        for window in windows:
            row = {name: value[0].tolist() for name, value in self._mask(window).items()}
            positions = [index for index, label in enumerate(row["labels"]) if label != IGNORED]
            if positions:
                found.append(Masked(row["input_ids"], positions, [row["labels"][index] for index in positions]))
        return found

    def _mask(self, example: dict[str, list[int]]) -> dict[str, Any]:
        given: dict[str, Any] = {"input_ids": example["input_ids"]}
        if self.whole_word:
            given["special_tokens_mask"] = [int(not chosen) for chosen in self._chosen(example["words"])]
        return dict(self.collator([given]))

    def _chosen(self, words: Sequence[int]) -> list[bool]:
        import torch

        numbers = torch.tensor(words)
        distinct, which = torch.unique(numbers, return_inverse=True)
        drawn = torch.rand(len(distinct), generator=self.collator.generator) < self.share
        chosen: list[bool] = (drawn[which] & (numbers != NO_WORD)).tolist()
        return chosen


def masked_objective(job: Job, tokenizer: Any) -> Objective:
    """Predict hidden tokens; validated on fixed masks of held-out windows. Adds a mask token to the tokenizer."""
    add_mask(tokenizer)
    params, length = job.params, job.budget.sequence_length
    texts = job.data.view("text", "train")
    documents = tokenize(tokenizer, texts)
    examples = [{"input_ids": block} for block in packed_blocks(job.data, documents, length, tokenizer.eos_token_id)]
    if params.whole_word:
        numbers = packed_blocks(job.data, _numbered_on(word_numbers(tokenizer, texts)), length, NO_WORD)
        examples = [example | {"words": words} for example, words in zip(examples, numbers, strict=True)]
    windows = windows_to_mask(job.data, "validation", tokenizer, length, VALIDATION_WINDOWS, params.whole_word)
    fixed = Masker(tokenizer, params.mask_share, params.whole_word, FIXED_SEED).sequences(windows)

    def evaluator(model: Any, precision: str) -> Evaluate:
        return lambda: _mean_loss(model, fixed, precision)

    collator = Masker(tokenizer, params.mask_share, params.whole_word, job.seed)
    return Objective("masked", examples, bytes_per_token(texts, documents), evaluator, collator, own_tokenizer=True)


def windows_to_mask(
    data: Dataset, split: str, tokenizer: Any, length: int, limit: int, whole_word: bool = False
) -> list[dict[str, list[int]]]:
    """At most ``limit`` windows of held-out text that do not overlap, with the words of their tokens where asked."""
    texts = data.view("text", split)
    documents = tokenize(tokenizer, texts)
    windows = [{"input_ids": ids} for ids in evaluation_windows(documents, length, None, limit)]
    if whole_word:
        words = evaluation_windows(word_numbers(tokenizer, texts), length, None, limit)
        return [window | {"words": numbers} for window, numbers in zip(windows, words, strict=True)]
    return windows


def word_numbers(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """For each text the number of the word that each token belongs to, as the tokenizer itself splits text.

    Raises ``StepError`` where it does not: its whole text would be one word.
    """
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)
    found = [[NO_WORD if word is None else word for word in encoded.word_ids(index)] for index in range(len(texts))]
    if any(len(words) > 100 and len(set(words)) == 1 for words in found):
        raise StepError("whole_word=true: this tokenizer does not split text into words; use whole_word=false")
    return found


def _numbered_on(documents: Sequence[Sequence[int]]) -> list[list[int]]:
    """The same words, numbered on from document to document, so that a block of several has no number twice."""
    first, found = 0, []
    for words in documents:
        found.append([NO_WORD if word == NO_WORD else first + word for word in words])
        first += max(words, default=NO_WORD) + 1
    return found


def _mean_loss(model: Any, fixed: Sequence[Masked], precision: str) -> dict[str, float]:
    """Loss (nats per chosen token) and the share of chosen tokens that ranked first."""
    predictions = predict(model, fixed, precision)
    chosen = sum(len(item.positions) for item in fixed)
    nll = -sum(float(item.log_probabilities.sum(dtype="float64")) for item in predictions)
    right = sum(int(item.correct.sum()) for item in predictions)
    return {"validation_loss": nll / chosen, "validation_masked_accuracy": right / chosen}
