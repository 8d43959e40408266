"""The metered training step against a plain hand-written PyTorch loop: goal within 5 %, as a ratio in one run.

Both train the same small Llama on the same blocks with AdamW and clipping, in turns of ten steps, in this process; the
ratio of the medians is asserted with room for the machine's noise.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from harness.contract import Budget, Checkpoint, Hardware, Job, TrainingParams
from harness.run.meter import Meter
from harness.training.loop import train
from harness.training.setup import training_setup

STEPS, BATCH, LENGTH, VOCABULARY, ROUNDS = 14, 8, 256, 1024, 3


def model() -> Any:
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


def blocks() -> list[list[int]]:
    import torch

    return torch.randint(0, VOCABULARY, (STEPS * BATCH, LENGTH), generator=torch.Generator().manual_seed(0)).tolist()


def plain_steps() -> list[float]:
    import torch

    net = model().train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    data, seconds = blocks(), []
    for step in range(STEPS):
        began = time.perf_counter()
        ids = torch.tensor(data[step * BATCH : (step + 1) * BATCH])
        loss = net(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    return seconds[4:]


def metered_steps(folder: Path) -> list[float]:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), pad_token="<pad>")
    meter = Meter(log=folder / "log")
    budget = Budget(steps=STEPS, batch_size=BATCH, sequence_length=LENGTH, evaluations=0)
    nothing: Any = None
    job = Job(
        params=TrainingParams(),
        checkpoint=Checkpoint("none", {}),
        data=nothing,
        precision="fp32",
        hardware=Hardware(),
        seed=0,
        budget=budget,
        meter=meter,
        output=folder,
    )
    examples = [{"input_ids": block, "labels": block} for block in blocks()]
    train(job, training_setup(job), model(), tokenizer, examples, dict)
    return [float(value) for value in meter.finish()["optimizer_steps"]["seconds"]][4:]


def test_a_metered_step_costs_what_a_plain_one_does(tmp_path: Path, benchmark: Any) -> None:
    plain: list[float] = []
    metered: list[float] = []

    def both() -> None:
        plain.extend(plain_steps())
        metered.extend(metered_steps(tmp_path))

    benchmark.pedantic(both, rounds=ROUNDS, iterations=1)
    ratio = statistics.median(metered) / statistics.median(plain)
    benchmark.extra_info["ratio"] = ratio
    print(f"metered / plain = {ratio:.3f}")
    assert ratio < 1.15


if __name__ == "__main__":
    pytest.main([__file__, "-s"])
