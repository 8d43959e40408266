"""``prefix_tuning``: trained key and value vectors in front of every layer's own, through PEFT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Hardware, Job, TrainingSetup, param
from harness.memory.held import Held
from harness.plain_code import PlainCode, adapted_code
from harness.training.finetuning import FineTuning, FineTuningParams
from harness.training.setup import NO_CACHE


class PrefixTuning(FineTuning):
    """Adds 2 x layers x width x prefix length parameters, width being key-value heads x head size.

    A prefix is no change of any weight, so that nothing can be trained or compressed after it. Of an encoder-decoder
    the decoder's self- and cross-attention get it, so that a head over an encoder cannot learn by it.
    """

    summary = "trained prefix of keys and values"
    source = "Li and Liang 2021, arXiv:2101.00190; library: peft"
    requires = ("torch", "transformers", "accelerate", "peft")
    gives = frozenset({"peft"})
    ends = "leaves adapters that cannot be merged into the weights"

    @dataclass(frozen=True)
    class Params(FineTuningParams):
        learning_rate: float = param(1e-2, "peak learning rate", low=0.0)
        prefix_length: int = param(20, "vectors in front of each layer's keys and values", low=1)
        reparametrize: bool = param(
            False, "train a smaller prefix through a two-layer network, which is dropped afterwards (the paper's)"
        )

    def kinds_for(self, view: str) -> frozenset[str]:
        """Below a head only models without an encoder apart: the library gives prefixes to decoders."""
        return super().kinds_for(view) - ({"seq2seq"} if view in ("labels", "choices") else set())

    def declines(self, setup: TrainingSetup, hardware: Hardware) -> str | None:
        """The prefix is a cache: nothing is computed again with one, and its keys need a mask."""
        if setup.gradient_checkpointing:
            return NO_CACHE
        if setup.attention_kernel == "FLASH_ATTENTION" and hardware.device == "cuda":
            return "prefix_tuning has more keys than queries, which needs a mask: a GPU's kernel=flash takes none"
        return None

    def holds(self, model: Held) -> Held:
        """Keys and values of the prefix learn."""
        params = self.params
        return model.with_prefix(params.prefix_length, network=params.reparametrize, view=params.view)

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """PEFT's prefix below transformers' Trainer."""
        options = f"num_virtual_tokens={self.params.prefix_length}, prefix_projection={self.params.reparametrize}"
        return adapted_code("PrefixTuningConfig", options, setup)

    def change(self, job: Job) -> Any:
        """The prefix learns; the weights stay as they are."""
        from harness.training.prefix import prefix

        return prefix(self.params)
