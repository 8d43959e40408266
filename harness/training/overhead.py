"""What the training loop and the meter add to an optimiser step: each such step beside one of a plain loop.

Both train the same small Llama on the same blocks with AdamW and clipping, a step of the one after a step of the other:
a machine that changes its speed changes both. A metered step lasts from the moment at which the loop is let go on to
that at which it asks for the next one, so that nothing which happens between two steps is left out.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from harness.contract import Budget, Checkpoint, Hardware, Job, Meter, TrainingParams

WARM_UP, BATCH, LENGTH, VOCABULARY = 5, 8, 256, 1024
LEARNING_RATE, MAX_NORM = 1e-3, 1.0


@dataclass(frozen=True)
class Pair:
    """Seconds of a step of the plain loop, and of the metered one after it."""

    plain: float
    metered: float

    @property
    def share(self) -> float:
        """What the metered step takes more, as a share of the plain one."""
        return self.metered / self.plain - 1


def pairs(meter: Meter, apart: Meter, hardware: Hardware, folder: Path, steps: int) -> list[Pair]:
    """Train both ways for ``steps`` after the warm-up.

    Spans go to ``meter``; the metered steps and whatever else their training tells to ``apart``.
    """
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from harness.training.loop import train
    from harness.training.setup import training_setup

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), pad_token="<pad>")
    blocks = _blocks((WARM_UP + steps) * BATCH)
    clock: Any = _Clock(meter, apart, _Plain(hardware, blocks))
    no_data: Any = None
    job = Job(
        params=TrainingParams(learning_rate=LEARNING_RATE, max_grad_norm=MAX_NORM, weight_decay=0.0),
        checkpoint=Checkpoint("none", {}),
        data=no_data,
        precision="fp32",
        hardware=hardware,
        seed=0,
        budget=Budget(steps=WARM_UP + steps, batch_size=BATCH, sequence_length=LENGTH, evaluations=0),
        meter=clock,
        output=folder,
    )
    examples = [{"input_ids": block, "labels": block} for block in blocks]
    train(job, training_setup(job), _model(), tokenizer, examples, dict)
    return [Pair(*seconds) for seconds in zip(clock.plain, clock.metered, strict=True)][WARM_UP:]


class _Plain:
    """The loop that one writes by hand, a step at a time."""

    def __init__(self, hardware: Hardware, blocks: list[list[int]]) -> None:
        import torch

        self.hardware, self.blocks = hardware, blocks
        self.model = _model().to(hardware.device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)

    def step(self) -> float:
        """Take a step on the next blocks and return its seconds."""
        import torch

        began = self._now()
        batch, self.blocks = self.blocks[:BATCH], self.blocks[BATCH:]
        ids = torch.tensor(batch).to(self.hardware.device)
        self.model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self._now() - began

    def _now(self) -> float:
        """The clock, read once a GPU has done what it was asked for."""
        if self.hardware.device == "cuda":
            import torch

            torch.cuda.synchronize()
        return perf_counter()


class _Clock:
    """A meter in two, spans to the one and all else to the other, that takes a plain step before each metered one."""

    def __init__(self, meter: Meter, apart: Meter, loop: _Plain) -> None:
        self.meter, self.apart, self.loop = meter, apart, loop
        self.plain: list[float] = []
        self.metered: list[float] = []
        self.began: float | None = None

    def span(self, name: str) -> AbstractContextManager[None]:
        return self.meter.span(name)

    def progress(self) -> None:
        self.meter.progress()

    def step_begin(self) -> None:
        if self.began is not None:
            self.metered.append(perf_counter() - self.began)
        if self.loop.blocks:
            with self.meter.span("plain"):
                self.plain.append(self.loop.step())
        self.began = perf_counter()
        self.apart.step_begin()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.apart, name)


def _model() -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def _blocks(count: int) -> list[list[int]]:
    import torch

    generator = torch.Generator().manual_seed(0)
    found: list[list[int]] = torch.randint(0, VOCABULARY, (count, LENGTH), generator=generator).tolist()
    return found
