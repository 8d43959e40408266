"""Bytes that autograd keeps of a forward pass until the backward pass, by token and block.

The terms are the tensors that transformers' blocks save, one by one; Korthikanti et al. 2022 (arXiv:2205.05198, eq. 1)
count a GPT block with dropout in 16 bits the same way, 34 sbh + 5 as^2b bytes. A test counts what autograd really saves
of every architecture, precision and kernel. Dropout is left out: the harness's own architectures have none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.memory.shape import Linear, Shape

QUADRATIC = ("eager", "math")


@dataclass(frozen=True)
class Types:
    """Bytes of a value of the residual stream and of what a product gives; whether each product casts its input."""

    plain: int
    product: int
    mixed: bool

    @classmethod
    def of(cls, precision: str, *, kept_in_fp32: bool = False) -> Types:
        """Those of a compute precision; ``kept_in_fp32`` where a library casts what its products give to 32 bits."""
        if precision.endswith("-mixed"):
            return cls(4, 4 if kept_in_fp32 else 2, True)
        return cls(4, 4, False) if precision == "fp32" or kept_in_fp32 else cls(2, 2, False)


@dataclass(frozen=True)
class Forward:
    """What decides the activations of a forward pass beside the model: types, kernel, and what learns.

    ``keeps_input(linear)`` says whether a matrix's input is kept, because it, or an adapter beside it, learns;
    ``norms_learn`` whether the norms do; ``on_gpu`` where autocast computes softmax in 32 bits whatever the model says.
    """

    types: Types
    kernel: str
    keeps_input: Callable[[Linear], bool]
    norms_learn: bool
    on_gpu: bool = False


def block_bytes(shape: Shape, forward: Forward, length: int, *, decoder: bool = False, memory: int = 0) -> float:
    """Bytes per token that one block keeps; it attends to ``length`` tokens, a decoder's to ``memory`` more."""
    linears = shape.linears(decoder=decoder)
    total = 2 * _norm(shape, forward) + _network(shape, forward)
    total += sum(_inputs(forward, [one for one in linears if one.reads == name]) for name in ("stream", "ff"))
    own, *cross = [one for one in linears if one.reads == "mixed"]
    causal = shape.kind == "causal" or decoder
    total += _attention(shape, forward, length, own, causal=causal, biased=shape.family == "t5")
    if decoder:
        share = memory / length
        total += _norm(shape, forward) + _inputs(forward, [one for one in linears if one.reads == "cross"])
        copies = [one for one in linears if one.reads == "memory"] if forward.types.mixed else []
        total += share * _inputs(forward, copies)
        total += _attention(shape, forward, memory, cross[0], causal=False, share=share)
    return total


def head_bytes(shape: Shape, forward: Forward, *, trains: bool) -> float:
    """Bytes per token that the language-modelling head keeps, its logits and the loss left out."""
    head = [Linear("lm_head", shape.vocabulary, shape.hidden, "stream")] if trains else []
    total = _inputs_of_width(forward, shape.hidden, len(head))
    if shape.family == "bert":
        dense = Linear("dense", shape.hidden, shape.hidden, "stream")
        kept = [dense] if forward.keeps_input(dense) else []
        total += _inputs_of_width(forward, shape.hidden, len(kept))
        total += shape.hidden * forward.types.product + _norm(shape, forward)
    return total


def ends_bytes(shape: Shape, forward: Forward) -> float:
    """Bytes per token of the norms around the blocks, and of what an encoder gives all of a decoder's blocks."""
    given = forward.types.plain * shape.hidden if shape.decoders and not forward.types.mixed else 0
    return _norm(shape, forward) * (2 if shape.decoders else 1) + given


def logits_bytes(shape: Shape) -> tuple[float, float]:
    """Bytes per token of the loss, in 32 bits at every precision: what is kept of it, and what going back adds.

    Kept is the log-softmax; beside it the backward pass makes its gradient and that of the logits.
    """
    return 4.0 * shape.vocabulary, 8.0 * shape.vocabulary


def _inputs(forward: Forward, readers: list[Linear]) -> float:
    """Of one state that several matrices read: kept once, or in 16 bits for each of them under autocast."""
    kept = [one for one in readers if forward.keeps_input(one)]
    return _inputs_of_width(forward, kept[0].inputs if kept else 0, len(kept))


def _inputs_of_width(forward: Forward, width: int, readers: int) -> float:
    if not readers:
        return 0.0
    return 2.0 * width * readers if forward.types.mixed else float(forward.types.plain * width)


def _norm(shape: Shape, forward: Forward) -> float:
    """A norm keeps its input and statistics; RMS norms as transformers writes them also the scaled state, in parts."""
    plain, hidden = forward.types.plain, shape.hidden
    if shape.family not in ("llama", "t5"):
        return plain * hidden + 2 * plain
    total = 4.0 * hidden + 4  # the state in 32 bits, and one over its root mean square
    if shape.family == "t5" and plain == 2:
        total += plain * hidden  # which it multiplies the 16-bit state with
    return total + (plain * hidden if forward.norms_learn else 0)


def _attention(
    shape: Shape, forward: Forward, keys: int, output: Linear, *, causal: bool, biased: bool = False,
    share: float = 1.0,
) -> float:  # fmt: skip
    """Queries, keys, values, what is given, and either a line of sums or the whole matrix of weights.

    ``share`` keys for each query; a learnt bias of positions leaves torch the ``math`` kernel alone.
    """
    product, width = 2 if forward.types.mixed else forward.types.product, shape.width
    if forward.kernel not in QUADRATIC and not biased:
        return product * (2 * width + 2 * share * shape.kv_width) + 4 * shape.heads
    given = product * width if forward.keeps_input(output) else 0
    if forward.kernel != "eager":
        return 4 * width * (1 + 2 * share) + 4.0 * shape.heads * keys + given
    kept = _weights(shape, forward, causal or biased) * shape.heads * keys
    return product * width * (1 + 2 * share) + kept + given


def _weights(shape: Shape, forward: Forward, masked: bool) -> int:
    """Bytes of an attention weight that transformers' own kernel keeps: the softmax, and its copy for the product.

    A mask or a bias in 32 bits makes the softmax 32 bits wide; Llama's always is.
    """
    types = forward.types
    if types.product == 4:
        return 4
    return 6 if shape.family == "llama" or (types.mixed and (masked or forward.on_gpu)) else 2


def _network(shape: Shape, forward: Forward) -> float:
    """The feed-forward network: its wide states, and the input of its last matrix where that learns."""
    product, wide = forward.types.product, shape.intermediate
    last = next(one for one in shape.linears() if one.reads == "inner")
    inner = product * wide if forward.keeps_input(last) else 0
    if shape.family == "llama" or shape.gated:  # gate, its activation, the other half
        return 3 * product * wide + inner
    if shape.family == "gpt2":  # gelu_new in plain operations
        return 4 * product * wide + inner
    if shape.family == "t5":  # ReLU keeps what it gives, which the last matrix reads
        return product * wide + (inner if forward.types.mixed else 0)
    return product * wide + inner
