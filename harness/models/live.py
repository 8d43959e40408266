"""What every scorer of a live transformers model has: its tokenizer, its sizes, and what was really opened."""

from __future__ import annotations

from typing import Any

from harness.models import scoring
from harness.models.inspect import describe_model
from harness.models.loading import check_kernel
from harness.models.text_side import TextSide


class LiveModel(TextSide):
    """A transformers model (or a PEFT model around one) in evaluation mode, with its tokenizer where there is one."""

    def __init__(self, model: Any, tokenizer: Any, precision: str) -> None:
        super().__init__(tokenizer)
        check_kernel(model)
        self.model = model.eval()
        self.precision = precision
        self.vocabulary_size = scoring.entries(model)
        self.max_length = int(getattr(model.config, "max_position_embeddings", 0) or model.config.n_positions)

    def describe(self) -> dict[str, Any]:
        """What was really opened: layer classes, weight types, parameters, quantised layers."""
        return describe_model(self.model)
