"""A causal transformers model behind the ``Scorer`` contract."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.contract import Job
from harness.models import scoring
from harness.models.inspect import describe_model
from harness.models.loading import autocast, load_model, load_tokenizer

if TYPE_CHECKING:
    import numpy


def open_scorer(job: Job) -> TransformersScorer:
    """Open the job's checkpoint with transformers, adapters unmerged on top, at the job's precision."""
    model = load_model(job.checkpoint, job.precision, job.hardware)
    tokenizer = load_tokenizer(job.checkpoint) if "tokenizer" in job.checkpoint.parts else None
    return TransformersScorer(model, tokenizer, job.precision)


class TransformersScorer:
    """Scores and generates with a live transformers model (or a PEFT model around one)."""

    def __init__(self, model: Any, tokenizer: Any, precision: str) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.precision = precision
        self.vocabulary_size = int(model.get_input_embeddings().weight.shape[0])
        self.max_length = int(getattr(model.config, "max_position_embeddings", 0) or model.config.n_positions)
        self.eos_id = tokenizer.eos_token_id if tokenizer is not None else None
        self.bos_id = _automatic_bos(tokenizer)

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text`` without special tokens."""
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def token_bytes(self) -> list[int]:
        """UTF-8 bytes that each token id stands for."""
        return scoring.token_bytes(self.tokenizer)

    def log_probabilities(self, sequences: Sequence[Sequence[int]]) -> list[numpy.ndarray]:
        """For each sequence of n tokens, float32 [n-1, vocabulary] of natural log-probabilities."""
        return scoring.log_probabilities(self.model, sequences, self.precision)

    def target_log_probabilities(self, sequences: Sequence[Sequence[int]]) -> list[numpy.ndarray]:
        """For each sequence of n tokens, float32 [n-1]: the log-probability of each token after the first."""
        return scoring.target_log_probabilities(self.model, sequences, self.precision)

    def stream(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Iterator[list[int]]:
        """Greedy ``model.generate`` over equally long prompts, one batch of next token ids at a time.

        The model runs in this thread of control: each ``next`` resumes generation until the next token is out.
        """
        return _stream(self.model, prompts, new_tokens, self.precision)

    def describe(self) -> dict[str, Any]:
        """What was really opened: layer classes, weight types, parameters, quantised layers."""
        return describe_model(self.model)


class _Steps:
    """A transformers streamer that hands each new column of tokens to a consumer and waits to be resumed."""

    def __init__(self) -> None:
        self.tokens: queue.Queue[list[int] | BaseException | None] = queue.Queue()
        self.resume = threading.Semaphore(0)
        self.prompt_seen = False

    def put(self, value: Any) -> None:
        """Called by ``generate``: first with the prompt, then once per step with one token per sequence."""
        if not self.prompt_seen:
            self.prompt_seen = True
            return
        self.tokens.put(value.reshape(-1).tolist())
        self.resume.acquire()

    def end(self) -> None:
        """Called by ``generate`` at the end."""
        self.tokens.put(None)


def _stream(model: Any, prompts: Sequence[Sequence[int]], new_tokens: int, precision: str) -> Iterator[list[int]]:
    import torch

    device = next(model.parameters()).device
    ids = torch.tensor([list(prompt) for prompt in prompts], dtype=torch.long, device=device)
    steps = _Steps()

    def generate() -> None:
        try:
            with torch.no_grad(), autocast(precision, device.type):
                model.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens,
                    min_new_tokens=new_tokens, do_sample=False, streamer=steps, pad_token_id=0,
                )  # fmt: skip
        except BaseException as error:
            steps.tokens.put(error)

    thread = threading.Thread(target=generate, daemon=True)
    thread.start()
    while (found := steps.tokens.get()) is not None:
        if isinstance(found, BaseException):
            raise found
        yield found
        steps.resume.release()
    thread.join()


def _automatic_bos(tokenizer: Any) -> int | None:
    """The beginning-of-text token, where the tokenizer itself puts one in front of every text."""
    if tokenizer is None or tokenizer.bos_token_id is None:
        return None
    first = tokenizer("a", add_special_tokens=True)["input_ids"][:1]
    return int(tokenizer.bos_token_id) if first == [tokenizer.bos_token_id] else None
