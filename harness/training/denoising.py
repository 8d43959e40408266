"""Denoising: an encoder-decoder restores corrupted text. How text is corrupted, what is trained and validated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.contract import Dataset, Job
from harness.data.windows import evaluation_windows
from harness.errors import StepError
from harness.models.encoder_decoder import collate, target_log_probabilities
from harness.models.scoring import token_pieces
from harness.training.corruption import Corrupted, line_order, permuted_infilling, span_corruption, text_infilling
from harness.training.examples import bytes_per_token, packed_blocks, tokenize
from harness.training.loop import Evaluate
from harness.training.pretraining import VALIDATION_WINDOWS, Objective
from harness.training.special_tokens import add_mask, add_sentinels, sentinel_ids

SPAN_CORRUPTION, TEXT_INFILLING = "span_corruption", "text_infilling"
# Share of the tokens that are hidden where nothing else is asked for: the papers' own.
DENSITIES = {SPAN_CORRUPTION: 0.15, TEXT_INFILLING: 0.3}
# Corruption of validation and of scoring is the same for every method and seed.
FIXED_SEED = 0


@dataclass(frozen=True)
class Rule:
    """How text is corrupted. ``density`` None is the objective's own; ``permute`` matters to text infilling alone."""

    objective: str
    density: float | None = None
    mean_span_length: float = 3.0
    permute: bool = True


class Corruptor:
    """Corrupts blocks of ids one after another; as a collator it makes batches of them.

    Source and target each end with the end-of-text token. Corruption is drawn example by example, so that accumulated
    micro-batches are corrupted as one batch.
    """

    def __init__(self, tokenizer: Any, rule: Rule, seed: int) -> None:
        import numpy

        self.rule = replace(rule, density=rule.density or DENSITIES[rule.objective])
        self.chance = numpy.random.default_rng(seed)
        self.end, self.padding, self.mask = tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id
        self.sentinels = sentinel_ids(tokenizer)
        self.line_ends = {token for token, piece in enumerate(token_pieces(tokenizer)) if piece and b"\n" in piece}
        if rule.objective == SPAN_CORRUPTION and not self.sentinels:
            raise StepError("span corruption needs sentinels, which the tokenizer has not; use text_infilling")
        if rule.objective == TEXT_INFILLING and self.mask is None:
            raise StepError("text infilling needs a mask token, which the tokenizer has not; use span_corruption")

    def corrupt(self, ids: Sequence[int]) -> Corrupted:
        """The next corruption of ``ids``, ends included."""
        found = self._corrupt(ids)
        return Corrupted([*found.source, self.end], [*found.target, self.end], [*found.hidden, False])

    def __call__(self, examples: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
        """A batch for an encoder-decoder: ``input_ids``, ``attention_mask`` and ``labels``."""
        found = [self.corrupt(example["input_ids"]) for example in examples]
        return collate([(item.source, item.target) for item in found], self.padding)

    def _corrupt(self, ids: Sequence[int]) -> Corrupted:
        density, mean = self.rule.density or 0.0, self.rule.mean_span_length
        if self.rule.objective == SPAN_CORRUPTION:
            return span_corruption(ids, density, mean, self.sentinels, self.chance)
        if not self.rule.permute:
            return text_infilling(ids, density, mean, self.mask, self.chance)
        order = line_order(ids, self.line_ends, self.end, self.chance)
        return permuted_infilling(ids, order, density, mean, self.mask, self.chance)


def denoising_objective(job: Job, tokenizer: Any) -> Objective:
    """Restore corrupted blocks; validated on fixed corruption of held-out windows. Adds the tokens that it needs.

    A block holds one token of text less than the sequence length, which is the room for the end of the target.
    """
    params, length = job.params, job.budget.sequence_length
    (add_sentinels if params.objective == SPAN_CORRUPTION else add_mask)(tokenizer)
    rule = Rule(params.objective, params.density, params.mean_span_length, params.permute)
    texts = job.data.view("text", "train")
    documents = tokenize(tokenizer, texts)
    blocks = packed_blocks(job.data, documents, length - 1, tokenizer.eos_token_id)
    fixed = corrupted_windows(job.data, "validation", tokenizer, rule, length, VALIDATION_WINDOWS)

    def evaluator(model: Any, precision: str) -> Evaluate:
        return lambda: _mean_loss(model, fixed, precision)

    examples = [{"input_ids": block} for block in blocks]
    size = bytes_per_token(texts, documents) * (length - 1) / length
    return Objective("seq2seq", examples, size, evaluator, Corruptor(tokenizer, rule, job.seed), own_tokenizer=True)


def rule_for(tokenizer: Any, objective: str | None, density: float | None, mean: float, permute: bool) -> Rule:
    """The rule asked for; without an ``objective``, that of the tokens that the tokenizer was given."""
    return Rule(objective or (SPAN_CORRUPTION if sentinel_ids(tokenizer) else TEXT_INFILLING), density, mean, permute)


def corrupted_windows(
    data: Dataset, split: str, tokenizer: Any, rule: Rule, length: int, limit: int
) -> list[Corrupted]:
    """At most ``limit`` windows of held-out text of less than ``length`` tokens, corrupted with the fixed seed."""
    corruptor = Corruptor(tokenizer, rule, FIXED_SEED)
    documents = tokenize(tokenizer, data.view("text", split))
    return [corruptor.corrupt(window) for window in evaluation_windows(documents, length - 1, None, limit)]


def _mean_loss(model: Any, fixed: Sequence[Corrupted], precision: str) -> dict[str, float]:
    """Loss in nats per token of the targets, their end included."""
    scores = target_log_probabilities(model, [(item.source, item.target) for item in fixed], precision)
    nll = -sum(float(item.sum(dtype="float64")) for item in scores)
    return {"validation_loss": nll / sum(len(item.target) for item in fixed)}
