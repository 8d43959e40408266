"""``base``: the model as it is given. Every comparison needs this row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.contract import Adapter
from harness.memory.held import Held
from harness.plain_code import PlainCode


class Base(Adapter):
    """Neither trains nor compresses: the checkpoint as it came."""

    summary = "the untouched model"
    source = "none: the reference"
    requires = ("torch", "transformers")

    def holds(self, model: Held) -> Held:
        """The model."""
        return model

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """Nothing is made."""
        return PlainCode("target = source")
