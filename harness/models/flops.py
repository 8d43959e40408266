"""Model FLOPs: the floating-point operations that a model's own arithmetic asks for, whatever a run really executes.

Counted as Chowdhery et al. 2022 (PaLM, arXiv:2204.02311, appendix B) do: 2 per weight of a matrix product and token,
and 4 x width per pair of positions for the two products of attention, a causal mask not discounted; norms, activations
and table look-ups are left out. A training step is three forward passes: the backward pass multiplies twice as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TRAINING_OVER_FORWARD = 3
# Projections of the encoder's states inside a decoder's layers, by their names in T5 and BART.
_OF_SOURCE = ("EncDecAttention.k", "EncDecAttention.v", "encoder_attn.k_proj", "encoder_attn.v_proj")


@dataclass(frozen=True)
class ForwardCost:
    """What one forward pass multiplies.

    ``source_weights`` are met by every token that the model reads, ``target_weights`` by every token that a decoder
    beside an encoder reads. ``width`` is heads x head size; ``layers`` those of the model or of its encoder.
    """

    source_weights: int
    target_weights: int
    width: int
    layers: int
    decoder_layers: int = 0

    def flops(self, sequences: int, source: int, target: int = 0) -> int:
        """FLOPs of a batch of ``sequences`` of ``source`` (and ``target``) positions each, padding included."""
        pairs = self.layers * source**2 + self.decoder_layers * (target**2 + source * target)
        weights = self.source_weights * source + self.target_weights * target
        return sequences * (2 * weights + 4 * self.width * pairs)


def forward_cost(model: Any) -> ForwardCost:
    """Read the cost of a live llama, gpt2, bert, t5 or bart language model off its layers and its configuration."""
    config = model.config
    weights = {"source": 0, "target": 0}
    for name, module in model.named_modules():
        if type(module).__name__ in ("Linear", "Conv1D"):
            weights[_side(name) if config.is_encoder_decoder else "source"] += module.weight.numel()
    head_size = getattr(config, "d_kv", None) or getattr(config, "head_dim", None)
    width = config.num_attention_heads * head_size if head_size else config.hidden_size
    decoder = 0
    if config.is_encoder_decoder:
        decoder = getattr(config, "decoder_layers", None) or config.num_decoder_layers
    return ForwardCost(weights["source"], weights["target"], width, config.num_hidden_layers, decoder)


def _side(name: str) -> str:
    """Whether a layer of an encoder-decoder meets the tokens of the source or those of the target."""
    in_encoder = "encoder" in name.split(".")
    return "source" if in_encoder or name.endswith(_OF_SOURCE) else "target"
