"""Losses of windows of text as one writes them by hand, in transformers or (with ``--llama-cpp``) in llama.cpp.

    python plain_scores.py --llama-cpp FILE.gguf WINDOWS

WINDOWS is a JSON list of lists of token ids. Prints a JSON list: the negative log-likelihood of each window's tokens
after its first. The windows are cut by docs/protocol.md: no window spans two documents, none overlaps another, the last
piece of a document counts where it is at least half a window, and of more than are asked for some are taken at equal
distances.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any


def windows_of(tokenizer: Any, texts: list[str], length: int, limit: int) -> list[list[int]]:
    """At most ``limit`` windows of ``length`` tokens; this tokenizer puts nothing in front of a text."""
    found = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        pieces = [ids[start : start + length] for start in range(0, len(ids), length)]
        if len(pieces) > 1 and len(pieces[-1]) < length / 2:
            pieces.pop()
        found += [piece for piece in pieces if len(piece) > 1]
    if len(found) <= limit:
        return found
    return [found[math.floor((place + 0.5) * len(found) / limit)] for place in range(limit)]


def by_transformers(folder: Path, windows: list[list[int]]) -> list[float]:
    """One window at a time through the model, in fp32."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    losses = []
    for window in windows:
        ids = torch.tensor([window])
        with torch.no_grad():
            mean = model(input_ids=ids, labels=ids).loss
        losses.append(float(mean) * (len(window) - 1))
    return losses


def by_llama_cpp(file: str, windows: list[list[int]]) -> list[float]:
    """The same through llama-cpp-python's own class."""
    import numpy
    from llama_cpp import Llama

    model = Llama(file, n_ctx=max(map(len, windows)), logits_all=True, verbose=False)
    losses = []
    for window in windows:
        model.reset()
        model.eval(window)
        logits = numpy.array(model.scores[: len(window) - 1], dtype=numpy.float64)
        logits -= logits.max(axis=1, keepdims=True)
        normal = numpy.log(numpy.exp(logits).sum(axis=1))
        losses.append(float((normal - logits[numpy.arange(len(window) - 1), window[1:]]).sum()))
    return losses


if __name__ == "__main__":
    assert sys.argv[1] == "--llama-cpp"
    print(json.dumps(by_llama_cpp(sys.argv[2], json.loads(Path(sys.argv[3]).read_text()))))
