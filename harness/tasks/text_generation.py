"""``text_generation``: greedily generated texts against references.

An encoder-decoder reads the source; a causal model goes on from the source and a line break. Both stop at the end of
text. chrF (Popovic 2015) and BLEU (Papineni et al. 2002) are sacrebleu's over the whole set, with their signatures in
the record (Post 2018); ROUGE-L (Lin 2004) is the mean over items of rouge-score's F-measure.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.contract import Job, Task, param
from harness.data.columns import SOURCE_END
from harness.errors import DataError

SHOWN = 3


class TextGeneration(Task):
    """chrF, BLEU and ROUGE-L of greedy generation, with per-item scores for paired comparison."""

    summary = "greedy generation against references: chrF, BLEU, ROUGE-L"
    requires = ("torch", "transformers", "sacrebleu", "rouge_score")
    kinds = frozenset({"causal", "seq2seq"})
    metrics = ("chrf", "bleu", "rouge_l")

    @dataclass(frozen=True)
    class Params:
        items: int = param(200, "number of items", low=1)
        new_tokens: int = param(64, "longest text that is generated, tokens", low=1)
        split: str = param("test", "split that is scored", choices=("validation", "test"))

    def view(self) -> str | None:
        """Sources with the texts that should come of them."""
        return "text_to_text"

    def score(self, scorer: _Completes, job: Job) -> None:
        """Generate for every item that fits the context, and compare with its reference."""
        with job.meter.span("data"):
            items, prompts, left_out = self._prompts(scorer, job)
        with job.meter.span("generate"):
            generated = scorer.complete(prompts, min(self.params.new_tokens, scorer.max_length - 1))
        with job.meter.span("score"):
            texts = [scorer.decode(ids).strip() for ids in generated]
            references = [str(item["target"]).strip() for item in items]
            _report(job, texts, references, [len(ids) for ids in generated])
        job.meter.observe("items", {"scored": len(items), "left_out": left_out})
        shown = zip(texts[:SHOWN], references[:SHOWN], strict=True)
        job.meter.observe("samples", [{"generated": text, "reference": reference} for text, reference in shown])

    def _prompts(self, scorer: _Completes, job: Job) -> tuple[list[dict[str, str]], list[list[int]], int]:
        """Items that fit, their prompts, and how many do not fit."""
        reads_apart = scorer.reads_apart
        found = job.data.view("text_to_text", self.params.split)[: self.params.items]
        room = scorer.max_length - (0 if reads_apart else self.params.new_tokens)
        items, prompts = [], []
        for item in found:
            ids = scorer.encode(item["source"] + ("" if reads_apart else SOURCE_END))
            prompt = [*ids, scorer.eos_id] if reads_apart and scorer.eos_id is not None else ids
            if 0 < len(prompt) <= room:
                items.append(item)
                prompts.append(prompt)
        if not items:
            raise DataError(f"no source of '{job.data.name}' fits the context of {scorer.max_length} tokens")
        return items, prompts, len(found) - len(items)


class _Completes(Protocol):
    """What is asked of a scorer; one that ``reads_apart`` reads its prompt in an encoder."""

    reads_apart: bool
    max_length: int
    eos_id: int | None

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def complete(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]: ...


def _report(job: Job, texts: list[str], references: list[str], tokens: list[int]) -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF

    chrf, bleu, sentence_bleu = CHRF(), BLEU(), BLEU(effective_order=True)
    job.meter.metric("chrf", chrf.corpus_score(texts, [references]).score)
    job.meter.metric("bleu", bleu.corpus_score(texts, [references]).score)
    rouge = RougeScorer(["rougeL"], use_stemmer=False)
    pairs = list(zip(texts, references, strict=True))
    columns: dict[str, list[Any]] = {
        "item": list(range(len(texts))),
        "chrf": [chrf.sentence_score(text, [reference]).score for text, reference in pairs],
        "bleu": [sentence_bleu.sentence_score(text, [reference]).score for text, reference in pairs],
        "rouge_l": [rouge.score(reference, text)["rougeL"].fmeasure for text, reference in pairs],
        "tokens": tokens,
    }
    job.meter.metric("rouge_l", statistics.fmean(columns["rouge_l"]))
    job.meter.items("text_generation", columns)
    signatures = {"chrf": str(chrf.get_signature()), "bleu": str(bleu.get_signature())}
    job.meter.observe("signatures", signatures | {"rouge_l": "rouge-score, rougeL F-measure, no stemming"})
    if any(letter.isalpha() and not letter.isascii() for reference in references for letter in reference):
        job.meter.flag("ROUGE-L reads a-z and 0-9 alone: other letters of the references split words")
