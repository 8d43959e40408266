"""What learns in a model, as far as memory is concerned: how many values, which inputs autograd must keep for them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.memory.activations import Types
from harness.memory.shape import Linear, Shape

# PEFT's own choice for LoRA where no modules are named: the paper's query and value.
_QUERY_AND_VALUE = {
    "llama": ("q_proj", "v_proj"), "gpt2": ("c_attn",), "bert": ("query", "value"), "t5": ("q", "v"),
    "bart": ("q_proj", "v_proj"),
}  # fmt: skip


@dataclass(frozen=True)
class Learning:
    """Nothing learns: the model as it is opened. What derives from it says what does.

    ``everything`` says that the model's own weights learn, ``norms`` that its norms do, ``apart`` that what learns
    stands beside the weights, in 32 bits whatever they are in (PEFT), ``through`` that gradients go through the model.
    """

    everything = False
    norms = False
    apart = False
    through = True

    def parameters(self, shape: Shape) -> int:
        """Values that learn."""
        return 0

    def matrices(self, shape: Shape) -> int:
        """Those of them in hidden matrices, of which Muon keeps one value each."""
        return 0

    def keeps_input(self, linear: Linear, shape: Shape) -> bool:
        """Whether what the matrix reads is kept for a gradient."""
        return False

    def added_bytes(self, shape: Shape, types: Types, decoder: bool) -> float:
        """Bytes per token and block that added modules keep."""
        return 0.0


@dataclass(frozen=True)
class AllWeights(Learning):
    """Every weight learns."""

    everything = True
    norms = True

    def parameters(self, shape: Shape) -> int:
        """All."""
        return shape.parameters

    def matrices(self, shape: Shape) -> int:
        """Those of the blocks."""
        return shape.linear_parameters()

    def keeps_input(self, linear: Linear, shape: Shape) -> bool:
        """Every input."""
        return True


@dataclass(frozen=True)
class LowRank(Learning):
    """LoRA: r (k + d) values beside each target of d x k (Hu et al. 2021); DoRA d more (Liu et al. 2024)."""

    rank: int
    targets: str | None = None
    dora: bool = False
    dropout: float = 0.0
    apart = True

    def parameters(self, shape: Shape) -> int:
        """A, B and with DoRA the magnitudes."""
        return self._over_blocks(shape, self.rank, self.rank) + (self._over_blocks(shape, 0, 1) if self.dora else 0)

    def matrices(self, shape: Shape) -> int:
        """A and B."""
        return self._over_blocks(shape, self.rank, self.rank)

    def keeps_input(self, linear: Linear, shape: Shape) -> bool:
        """Those of the targets: A learns from them."""
        if self.targets == "all-linear":
            return True
        named = self.targets.split(",") if self.targets else _QUERY_AND_VALUE[shape.family]
        return linear.name in [name.strip().rpartition(".")[2] for name in named]

    def added_bytes(self, shape: Shape, types: Types, decoder: bool) -> float:
        """What A gives, which B reads; DoRA also keeps the products that it scales, dropout its mask and result."""
        found = [one for one in shape.linears(decoder=decoder) if self.keeps_input(one, shape)]
        each = len(found) * self.rank * types.product
        if self.dora:
            each += sum(one.outputs for one in found) * types.product
        if self.dropout:
            each += sum(one.inputs for one in found) * (types.product + 1)
        return each

    def _over_blocks(self, shape: Shape, inputs: int, outputs: int) -> int:
        def of(decoder: bool) -> int:
            kept = (one for one in shape.linears(decoder=decoder) if self.keeps_input(one, shape))
            return sum(inputs * one.inputs + outputs * one.outputs for one in kept)

        return shape.layers * of(False) + (shape.decoders * of(True) if shape.decoders else 0)


@dataclass(frozen=True)
class Bottlenecks(Learning):
    """Down to ``size``, up again and two biases behind both parts of a block (Houlsby et al. 2019, section 2)."""

    size: int
    train_norms: bool = True
    apart = True

    @property
    def norms(self) -> bool:  # type: ignore[override]
        """Whether the norms learn with them."""
        return self.train_norms

    def parameters(self, shape: Shape) -> int:
        """2 (2 h m + h + m) of each block, and the norms."""
        own = 2 * shape.hidden * self.size + shape.hidden + self.size
        found = own * (2 * shape.layers + 3 * shape.decoders)
        if self.train_norms:
            found += shape.norms * (2 * shape.layers + 3 * shape.decoders + (2 if shape.decoders else 1))
        return found

    def matrices(self, shape: Shape) -> int:
        """Down and up."""
        return 2 * shape.hidden * self.size * (2 * shape.layers + 3 * shape.decoders)

    def added_bytes(self, shape: Shape, types: Types, decoder: bool) -> float:
        """What the bottleneck reads, and its narrow state before and after the non-linearity."""
        return (3 if decoder else 2) * types.product * (shape.hidden + 2 * self.size)


@dataclass(frozen=True)
class Prefix(Learning):
    """2 x width x length values of each layer (Li and Liang 2021), through a two-layer network if ``network``."""

    length: int
    network: bool = False
    apart = True

    def parameters(self, shape: Shape) -> int:
        """Of an encoder-decoder the decoder's layers have it."""
        layers = shape.decoders or shape.layers
        prefix = 2 * layers * shape.kv_width * self.length
        if not self.network:
            return prefix
        wide = 2 * layers * shape.kv_width
        hidden = shape.hidden
        return self.length * hidden + hidden * hidden + hidden + hidden * wide + wide


@dataclass(frozen=True)
class HeadAlone(Learning):
    """A linear layer on top of a model through which no gradient goes."""

    apart = True
    through = False

    def parameters(self, shape: Shape) -> int:
        """One output: how many there are depends on the data, and does not matter."""
        return shape.hidden + 1
