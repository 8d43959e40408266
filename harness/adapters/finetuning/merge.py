"""``merge``: adapters of an earlier stage added into the weights, saved as a plain model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.contract import Adapter, Checkpoint, Job
from harness.memory.held import Held
from harness.plain_code import PlainCode


class Merge(Adapter):
    """W + (alpha / r) BA in place of W with B and A beside it: the same function, no product more at each token.

    It is held in the cell's precision, in which the sum is rounded. Adapters that were trained over quantised weights
    are added to the plain ones, so that the merged model is another one: the difference of the logits says how far.
    """

    summary = "LoRA merged into the weights, a plain checkpoint"
    source = "Hu et al. 2021, arXiv:2106.09685, section 4.1; library: peft (merge_and_unload)"
    requires = ("torch", "transformers", "peft")
    takes = frozenset({"model", "peft"})
    gives = frozenset({"model"})

    def holds(self, model: Held) -> Held:
        """The plain model."""
        return model.plain()

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """PEFT's own call."""
        return PlainCode("target = source")

    def compress(self, job: Job) -> Checkpoint:
        """Merge, save, and compare the logits of what was saved with those of the model as it was."""
        from harness.models.merged import merge

        return merge(job)
