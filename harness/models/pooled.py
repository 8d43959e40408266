"""A linear head over the mean of a model's last hidden states: how models of every architecture classify alike.

The mean is over the tokens that are not padding, of the encoder alone where there is a decoder too. One output per
class, or one per option of a multiple choice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contract import Checkpoint, Hardware
from harness.errors import ModelError
from harness.models.inspect import describe_model
from harness.models.loading import autocast, load_model, load_tokenizer, weight_dtype, with_adapters_of
from harness.models.scoring import batches, padded

if TYPE_CHECKING:
    import numpy

HEAD, FACTS = "head.safetensors", "head.json"


def open_pooled(checkpoint: Checkpoint, precision: str, hardware: Hardware) -> Any:
    """Open a model with its trained head, and with the adapters that were trained below it."""
    from safetensors.torch import load_file

    folder = checkpoint.parts.get("peft", checkpoint.parts["model"])
    facts = read_facts(folder)
    backbone = load_model(checkpoint, precision, hardware, headless=True, with_adapters=False)
    model = below_head(backbone, precision, facts)
    if "peft" in checkpoint.parts:
        model.set_reader(with_adapters_of(model.reader(), folder))
    model.head.load_state_dict(load_file(folder / HEAD))
    return model


def save_head(model: Any, folder: Path) -> None:
    """Write the head and what it is for beside what was saved of the model."""
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in model.head.state_dict().items()}, folder / HEAD)
    (folder / FACTS).write_text(json.dumps(model.facts, indent=1))


def read_facts(folder: Path) -> dict[str, Any]:
    """What the head is for: ``view``, its ``classes`` in order, and the ``length`` in tokens to which texts are cut."""
    try:
        found: dict[str, Any] = json.loads((folder / FACTS).read_text())
    except FileNotFoundError:
        raise ModelError(f"the model in {folder.name} has no classification head: train one first") from None
    return found


class PooledScorer:
    """Classifies texts, or scores the options of multiple-choice items, with a trained head."""

    def __init__(self, checkpoint: Checkpoint, precision: str, hardware: Hardware) -> None:
        self.model = open_pooled(checkpoint, precision, hardware).eval()
        self.tokenizer = load_tokenizer(checkpoint)
        self.precision = precision
        self.facts: dict[str, Any] = self.model.facts
        self.max_length = int(self.facts["length"])

    def class_log_probabilities(self, texts: Sequence[str]) -> list[numpy.ndarray]:
        """For each text, float32 [classes]: natural log-probability of each class."""
        import torch

        logits = self._logits([truncated(ids, self.max_length) for ids in self._ids(texts)])
        return [torch.log_softmax(row, dim=-1).numpy() for row in logits]

    def option_scores(self, items: Sequence[Mapping[str, Any]]) -> list[list[float]]:
        """For each item {prompt, options}, the head's score of each option behind the prompt."""
        joined = [item["prompt"] + option for item in items for option in item["options"]]
        scores = iter(self._logits([truncated(ids, self.max_length) for ids in self._ids(joined)]))
        return [[float(next(scores)[0]) for _ in item["options"]] for item in items]

    def describe(self) -> dict[str, Any]:
        """What was really opened, and what its head is for."""
        return {**describe_model(self.model), "head": self.facts}

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return list(self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"])

    def _logits(self, sequences: Sequence[Sequence[int]]) -> list[Any]:
        import torch

        device = next(self.model.parameters()).device
        found: list[Any] = [None] * len(sequences)
        for batch in batches(sequences, 1):
            ids, mask = padded([sequences[index] for index in batch])
            with torch.no_grad(), autocast(self.precision, device.type):
                logits = self.model.score(ids.to(device), mask.to(device)).float().cpu()
            for row, index in enumerate(batch):
                found[index] = logits[row]
        return found


def truncated(ids: Sequence[int], length: int) -> list[int]:
    """The first ``length`` ids, and never none: an empty text is the first entry of the vocabulary."""
    return list(ids[:length]) or [0]


def below_head(backbone: Any, precision: str, facts: dict[str, Any]) -> Any:
    """Put an untrained head on a model without one; ``facts`` is what ``read_facts`` reads back."""
    import torch
    from transformers.modeling_outputs import SequenceClassifierOutput

    class Pooled(torch.nn.Module):
        """The model below its language-modelling head, the mean of its states, and a linear layer."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.config, self.facts = backbone, backbone.config, facts
            if getattr(backbone, "pooler", None) is not None:
                backbone.pooler = None  # BERT's own, which masked language modelling never trained
            outputs = len(facts["classes"]) if facts["view"] == "labels" else 1
            self.head = torch.nn.Linear(self.config.hidden_size, outputs, dtype=weight_dtype(precision))

        def reader(self) -> Any:
            """The part of the model that reads the text: all of it, or its encoder."""
            return self.backbone.encoder if self.config.is_encoder_decoder else self.backbone

        def set_reader(self, reader: Any) -> None:
            """Put ``reader``, which is the old one with something added, into its place."""
            if self.config.is_encoder_decoder:
                self.backbone.encoder = reader
            else:
                self.backbone = reader

        def activation_checkpointing_enable(self, **options: Any) -> None:
            """What transformers' ``Trainer`` calls."""
            self.reader().activation_checkpointing_enable(**options)

        def gradient_checkpointing_enable(self, **options: Any) -> None:
            """What it called before it renamed the argument, and its models the method."""
            self.reader().gradient_checkpointing_enable(**options)

        def score(self, input_ids: Any, attention_mask: Any) -> Any:
            """Logits of each sequence, [sequences, classes] or [sequences, 1]."""
            states = self.reader()(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weights = attention_mask.unsqueeze(-1).to(states.dtype)
            return self.head((states * weights).sum(1) / weights.sum(1))

        def forward(self, input_ids: Any, attention_mask: Any, labels: Any = None) -> Any:
            """Logits of the classes of texts [texts, length], or of the options of items [items, options, length]."""
            flat = (input_ids.flatten(0, -2), attention_mask.flatten(0, -2))
            logits = self.score(*flat).reshape(len(input_ids), -1)
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits.float(), labels)
            return SequenceClassifierOutput(loss=loss, logits=logits)

    model = Pooled()
    model.head.to(next(backbone.parameters()).device)
    return model
