"""A causal transformers model behind the ``Scorer`` contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.contract import Job, KeyValues
from harness.models import continuations, scoring
from harness.models.completion import Ends, complete
from harness.models.key_values import key_values_of
from harness.models.live import LiveModel
from harness.models.loading import autocast, load_model, load_tokenizer
from harness.models.special import automatic_bos

if TYPE_CHECKING:
    import numpy


def open_scorer(job: Job) -> TransformersScorer:
    """Open the job's checkpoint with transformers, adapters unmerged on top, at the job's precision."""
    model = load_model(job.checkpoint, job.precision, job.hardware)
    tokenizer = load_tokenizer(job.checkpoint) if "tokenizer" in job.checkpoint.parts else None
    return TransformersScorer(model, tokenizer, job.precision)


class TransformersScorer(LiveModel):
    """Scores and generates with a live transformers model (or a PEFT model around one)."""

    def __init__(self, model: Any, tokenizer: Any, precision: str) -> None:
        super().__init__(model, tokenizer, precision)
        self.bos_id = automatic_bos(tokenizer)
        self.key_values: KeyValues | None = None

    def log_probabilities(self, sequences: Sequence[Sequence[int]]) -> list[numpy.ndarray]:
        """For each sequence of n tokens, float32 [n-1, vocabulary] of natural log-probabilities."""
        return scoring.log_probabilities(self.model, sequences, self.precision)

    def target_log_probabilities(self, sequences: Sequence[Sequence[int]]) -> list[numpy.ndarray]:
        """For each sequence of n tokens, float32 [n-1]: the log-probability of each token after the first."""
        return scoring.target_log_probabilities(self.model, sequences, self.precision)

    def continuations(self, pairs: Sequence[continuations.Pair]) -> list[continuations.Continued]:
        """For each context and continuation, how likely its tokens are; what pairs share is computed once."""
        return continuations.score(self.model, pairs, self.precision)

    def complete(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, ends: Ends | None = None
    ) -> list[list[int]]:
        """At most ``new_tokens`` greedy ids after each prompt, until the end of text or soon after it ``ends``."""
        return complete(self.model, prompts, new_tokens, self.precision, self.eos_id, ends)

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, on_tokens: Callable[[list[int]], None]
    ) -> None:
        """Greedy ``model.generate`` over equally long prompts; ``on_tokens`` is called inside it, token by token."""
        import torch

        device = next(self.model.parameters()).device
        ids = torch.tensor([list(prompt) for prompt in prompts], dtype=torch.long, device=device)
        with torch.no_grad(), autocast(self.precision, device.type):
            out = self.model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens,
                min_new_tokens=new_tokens, do_sample=False, use_cache=True, streamer=_Streamer(on_tokens),
                pad_token_id=0, return_dict_in_generate=True,
            )  # fmt: skip
        self.key_values = key_values_of(out.past_key_values, self.model.config, len(prompts), self.precision)


class _Streamer:
    """What transformers calls during ``generate``: first with the prompt, then with one token per sequence."""

    def __init__(self, on_tokens: Callable[[list[int]], None]) -> None:
        self.on_tokens = on_tokens
        self.prompt_seen = False

    def put(self, value: Any) -> None:
        """Hand the tokens on; reading them waits for the device, so a clock read there is true on a GPU too."""
        if self.prompt_seen:
            self.on_tokens(value.reshape(-1).tolist())
        self.prompt_seen = True

    def end(self) -> None:
        """Called when the last token is out; nothing is left to do."""
