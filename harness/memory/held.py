"""A model as a method holds it: its shape, how its weights are stored, what learns, and what stands beside it.

Each technique says by ``Adapter.holds`` how it turns one into another, as it turns one checkpoint into another; the
prediction reads the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.memory.learning import (
    AllWeights,
    Bottlenecks,
    HeadAlone,
    Learning,
    LowRank,
    Prefix,
)
from harness.memory.shape import Shape, shape_of, shape_of_sizes


@dataclass(frozen=True)
class Storage:
    """Bits of a value in the blocks' matrices, and of a value elsewhere (None: as the precision has it).

    ``row_bits`` come on top for each output of a matrix. ``compute_in_fp32``: a library casts the rest to 32 bits.
    """

    matrix_bits: float
    row_bits: float = 0.0
    rest_bits: float | None = None
    compute_in_fp32: bool = False


@dataclass(frozen=True)
class Held:
    """What a stage holds.

    ``beside`` are frozen models that read the same batch (a teacher, a reference); ``compares_states``: the loss
    compares their hidden states. ``sequences`` of an example (a preferred and a rejected answer: 2). ``losses`` is how
    many log-softmaxes over the vocabulary the loss keeps; ``headless``: a layer for classes or rewards takes the place
    of the vocabulary's. ``critics`` are further models with a layer of one score that learn on the same batch.
    ``target_share`` of a sequence's length is what an encoder-decoder writes.
    """

    shape: Shape
    learning: Learning = field(default_factory=Learning)
    storage: Storage | None = None
    beside: tuple[Shape, ...] = ()
    compares_states: bool = False
    sequences: int = 1
    losses: int = 1
    headless: bool = False
    critics: int = 0
    target_share: float = 1.0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Held:
        """A plain model, by its ``config.json``; ``ModelError`` where the layout is not known."""
        return cls(shape_of(config))

    @classmethod
    def of_sizes(cls, spec: Mapping[str, Any]) -> Held:
        """A plain model, by the sizes that a suite gives an architecture."""
        return cls(shape_of_sizes(spec))

    def plain(self) -> Held:
        """Its weights alone, as the precision has them: adapters merged, nothing that learns, nothing beside it."""
        return Held(self.shape)

    def with_vocabulary(self, entries: int) -> Held:
        """Over a tokenizer of so many entries."""
        return replace(self, shape=replace(self.shape, vocabulary=entries))

    def training(self, *, view: str | None = None, sequences: int = 1, target_share: float = 1.0) -> Held:
        """Every weight learns; below a head where the view has labels or choices."""
        return self._learning(AllWeights(), view, sequences=sequences, target_share=target_share)

    def with_low_rank(
        self, rank: int, targets: str | None, *, dora: bool = False, dropout: float = 0.0, view: str | None = None,
        sequences: int = 1,
    ) -> Held:  # fmt: skip
        """LoRA beside ``targets`` (names by commas, ``all-linear``, or PEFT's query and value) learns."""
        return self._learning(LowRank(rank, targets, dora, dropout), view, sequences=sequences)

    def with_bottlenecks(self, size: int, *, norms: bool, view: str | None = None) -> Held:
        """Bottleneck adapters learn, and the norms with them."""
        return self._learning(Bottlenecks(size, norms), view)

    def with_prefix(self, length: int, *, network: bool, view: str | None = None) -> Held:
        """A prefix of keys and values learns."""
        return self._learning(Prefix(length, network), view)

    def with_head_alone(self) -> Held:
        """A layer on top learns, through which no gradient goes down."""
        return replace(self._learning(HeadAlone(), None), headless=True)

    def stored(self, matrix_bits: float, **rest: Any) -> Held:
        """The blocks' matrices in so many bits a value; see ``Storage``."""
        return replace(self, storage=Storage(matrix_bits, **rest), learning=Learning())

    def stored_in_groups(self, bits: int, group: int | None, *, zero_bits: int | None = None) -> Held:
        """Codes of ``bits``; for each group of a row (None: the row) a 16-bit scale and a zero point as wide as a code.

        What is not in the blocks' matrices is held in 16 bits.
        """
        scale = 16 + (bits if zero_bits is None else zero_bits)
        if group is None:
            return self.stored(bits, row_bits=scale, rest_bits=16)
        return self.stored(bits + scale / group, rest_bits=16)

    def next_to(self, *models: Shape, losses: int = 1, states: bool = False) -> Held:
        """Frozen models read the same batches; ``states``: the loss compares their hidden states too."""
        return replace(self, beside=models, losses=losses, compares_states=states)

    def taught_by(self, teacher: Shape, *, hard: float, soft: float, cosine: float = 0.0) -> Held:
        """Learns labels, a teacher's distribution (two log-softmaxes) and its states, each by its weight in the loss.

        A teacher that nothing is learnt from is not there.
        """
        if not (soft or cosine):
            return self
        return self.next_to(teacher, losses=bool(hard) + 2 * bool(soft), states=bool(cosine))

    def with_critic(self) -> Held:
        """A copy with a score learns too, on the same batches."""
        return replace(self, critics=1)

    def resized(self, *, layers: int | None = None, hidden: int | None = None, intermediate: int | None = None) -> Held:
        """A model of other sizes; half as many layers where no number is given."""
        shape = self.shape
        layers = layers or max(1, shape.layers // 2)
        hidden = hidden or shape.hidden
        smaller = replace(
            shape, layers=layers, hidden=hidden, intermediate=intermediate or shape.intermediate,
            head_size=shape.head_size * hidden // shape.hidden,
        )  # fmt: skip
        return replace(self, shape=smaller)

    def without_types(self) -> Held:
        """Without token types, as DistilBERT is."""
        return replace(self, shape=replace(self.shape, types=0))

    def _learning(self, learning: Learning, view: str | None, **rest: Any) -> Held:
        """A stage begins: adapters of an earlier one are merged, and what stood beside it is gone."""
        headless = view in ("labels", "choices")
        return Held(self.shape, learning, self.storage, headless=headless, **rest)
