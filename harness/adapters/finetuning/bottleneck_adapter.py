"""``bottleneck_adapter``: small networks behind attention and feed-forward blocks, as a method of PEFT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.contract import Job, param
from harness.memory.held import Held
from harness.training.finetuning import FineTuning, FineTuningParams


class BottleneckAdapter(FineTuning):
    """Trains a projection down to ``size`` and up again behind both blocks of every layer, and the layer norms.

    The non-linearity between the two keeps it from being merged, so that nothing can be trained or compressed after it.
    """

    summary = "Houlsby adapters behind attention and feed-forward blocks"
    source = "Houlsby et al. 2019, arXiv:1902.00751; library: peft, by its hook for new methods"
    requires = ("torch", "transformers", "accelerate", "peft", "aenum")
    gives = frozenset({"peft"})
    ends = "leaves adapters that cannot be merged into the weights"

    @dataclass(frozen=True)
    class Params(FineTuningParams):
        learning_rate: float = param(1e-3, "peak learning rate", low=0.0)
        size: int = param(64, "width of the bottleneck", low=1)
        train_norms: bool = param(True, "train the layer norms too (the paper's)")

    def holds(self, model: Held) -> Held:
        """The bottlenecks learn, and the norms with them."""
        return model.with_bottlenecks(self.params.size, norms=self.params.train_norms, view=self.params.view)

    def change(self, job: Job) -> Any:
        """The bottlenecks and copies of the norms learn; the weights stay as they are."""
        from harness.training.bottleneck import bottleneck

        return bottleneck(self.params)
