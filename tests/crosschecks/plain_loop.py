"""A training as one writes it by hand in PyTorch, in a process of its own and without the harness.

    python plain_loop.py MODEL TEXTS STEPS BATCH LENGTH RATE SEED THREADS

MODEL is a folder of transformers, TEXTS a JSON list of documents. It follows docs/protocol.md and the descriptions of
the parameters: documents one after another with an end-of-text token after each, blocks of LENGTH tokens, no loss on a
document's first token; AdamW, a rate that rises over 5 % of the steps and falls by a cosine, gradients clipped to a
norm of 1; blocks in the order of a permutation by the seed. Prints JSON: the loss and the seconds of each step, and by
how much the peak of resident memory rose above what the libraries took.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

Block = tuple[list[int], list[int]]


def memory(field: str) -> int:
    """Bytes of one line of the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def load_libraries() -> None:
    """Take a step of a model of next to no size: what that loads and allocates for itself is no part of a training."""
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.zeros(1, 8, dtype=torch.long)
    model(input_ids=ids, labels=ids).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def blocks_of(tokenizer: Any, texts: list[str], length: int) -> list[Block]:
    """Ids and labels of each block; the last, incomplete one is dropped."""
    ids, labels = [], []
    for text in texts:
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        if tokens:
            ids += [*tokens, tokenizer.eos_token_id]
            labels += [-100, *tokens[1:], tokenizer.eos_token_id]
    starts = range(0, len(ids) - length + 1, length)
    return [(ids[start : start + length], labels[start : start + length]) for start in starts]


def batches(blocks: list[Block], size: int, seed: int) -> Iterator[tuple[Any, Any]]:
    """The blocks again and again, each time in another order; what is left over of one pass makes a smaller batch."""
    passes = 0
    while True:
        order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed + passes)).tolist()
        for start in range(0, len(order), size):
            chosen = [blocks[index] for index in order[start : start + size]]
            yield torch.tensor([one[0] for one in chosen]), torch.tensor([one[1] for one in chosen])
        passes += 1


def rate_at(step: int, steps: int, peak: float) -> float:
    """The rate of a step, counted from 0."""
    rise = round(0.05 * steps)
    if step < rise:
        return peak * step / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def train(model: Any, blocks: list[Block], steps: int, batch: int, peak: float, seed: int) -> tuple[list[float], ...]:
    """Losses and seconds of each step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.0)
    stream, losses, seconds = batches(blocks, batch, seed), [], []
    for step in range(steps):
        began = time.perf_counter()
        ids, labels = next(stream)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, peak)
        logits = model(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        seconds.append(time.perf_counter() - began)
    return losses, seconds


def main() -> None:
    folder, texts, *numbers = sys.argv[1:]
    steps, batch, length, seed, threads = (int(numbers[place]) for place in (0, 1, 2, 4, 5))
    torch.set_num_threads(threads)
    load_libraries()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    blocks = blocks_of(AutoTokenizer.from_pretrained(folder), json.loads(Path(texts).read_text()), length)
    losses, seconds = train(model, blocks, steps, batch, float(numbers[3]), seed)
    print(json.dumps({"losses": losses, "seconds": seconds, "rise_bytes": memory("VmHWM") - before}))


if __name__ == "__main__":
    main()
