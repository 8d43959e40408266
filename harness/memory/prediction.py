"""Bytes that a training or an opened model takes on each rank, before anything runs.

Everything is arithmetic over a ``Held`` model and a ``TrainingSetup``. A training step has moments at which different
things lie in memory at once; the prediction is the largest. What it leaves out is said in ``LEFT_OUT``.

Sources: 16 bytes a parameter of mixed precision with Adam, and its division over ranks, are ZeRO's (2 + 2 + K) Psi with
K = 12 (Rajbhandari et al. 2020, arXiv:1910.02054, section 3.1); activations are ``activations``'; recomputation is Chen
et al. 2016 (arXiv:1604.06174) with one segment per block; what torch and transformers hold beside (copies of autocast,
gradients of the loss, temporaries of an optimiser) is read off their source and measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.contract import Hardware, TrainingSetup
from harness.memory.activations import (
    Forward,
    Types,
    block_bytes,
    ends_bytes,
    head_bytes,
    logits_bytes,
)
from harness.memory.held import Held
from harness.memory.shape import Shape

LEFT_OUT = (
    "the interpreter and its libraries, data, what the heap keeps of freed memory and, in 16 bits on a CPU, what "
    "oneDNN compiles for each length of a batch and keeps (about 1 MB for each product of up to 1024)"
)

# What the first steps of any training load and allocate for themselves on a CPU (code, threads, kernels): measured with
# a model of 20 thousand parameters, 17 to 26 MB (suites/memory.yaml, model `nano`).
FIRST_STEPS = 20e6


@dataclass(frozen=True)
class Prediction:
    """Bytes per rank: ``parts`` by what they are, and ``moments`` by when: the parts that lie in memory then.

    ``trained`` is how many values learn.
    """

    parts: Mapping[str, float]
    moments: Mapping[str, float]
    trained: int = 0

    @property
    def peak(self) -> float:
        """The most bytes at once."""
        return max(self.moments.values())

    @property
    def at(self) -> str:
        """The moment of the peak."""
        return max(self.moments, key=lambda name: self.moments[name])


def predict_training(held: Held, setup: TrainingSetup, hardware: Hardware) -> Prediction:
    """Predict the steps of a training: the set-up's micro-batch at its full sequence length."""
    return _Training(held, setup, hardware).prediction()


def predict_opened(held: Held, precision: str, batch: int, length: int) -> Prediction:
    """Predict an opened model that generates: weights, keys and values of ``length`` tokens, logits of the last."""
    shape = held.shape
    value = _value_bytes(precision)
    layers = shape.layers + shape.decoders
    positions = length + getattr(held.learning, "length", 0)  # a prefix has keys and values too
    added = 4.0 * held.learning.parameters(shape) if held.learning.apart else 0.0
    parts = {
        "weights": stored_bytes(held, precision) + added,
        "keys and values": 2.0 * layers * shape.kv_width * batch * positions * _product_bytes(precision),
        "logits": float(batch * shape.vocabulary * max(4, value)),
    }
    return Prediction(parts, {"it generates": sum(parts.values())})


def stored_bytes(held: Held, precision: str) -> float:
    """Bytes of the model's own weights as they are held."""
    shape, storage = held.shape, held.storage
    total = _without_head(shape) if held.headless else shape.parameters
    if storage is None:
        return float(_value_bytes(precision) * total)
    matrices = shape.linear_parameters()
    rest = 4.0 if storage.compute_in_fp32 else (storage.rest_bits or 8 * _value_bytes(precision)) / 8
    return matrices * storage.matrix_bits / 8 + _rows(shape) * storage.row_bits / 8 + (total - matrices) * rest


class _Training:
    """The parts of one training, each a property, and the moments that they make."""

    def __init__(self, held: Held, setup: TrainingSetup, hardware: Hardware) -> None:
        self.held, self.setup, self.shape, self.learning = held, setup, held.shape, held.learning
        self.ranks = hardware.ranks
        self.gpu = hardware.device == "cuda"
        self.zero = setup.zero_stage or 0
        self.length = setup.sequence_length
        self.tokens = setup.micro_batch_size // self.ranks * held.sequences * self.length
        in_fp32 = held.storage is not None and held.storage.compute_in_fp32
        self.types = Types.of(setup.precision, kept_in_fp32=in_fp32)
        self.value = 4 if self.learning.apart else _value_bytes(setup.precision)
        self.paged = setup.optimizer.startswith("paged")
        self.divided_in_16_bits = bool(self.zero) and setup.precision.endswith("-mixed")
        self.critics = held.critics * _without_head(self.shape)
        self.trained = self.learning.parameters(self.shape) + self.critics
        if self.learning.everything and held.headless:
            self.trained = _without_head(self.shape)
        self.forward = Forward(
            self.types, self._kernel(), lambda one: self.learning.keeps_input(one, self.shape), self.learning.norms,
            self.gpu,
        )  # fmt: skip

    def prediction(self) -> Prediction:
        """The parts, and the moments in the order in which they come."""
        parts = {
            "weights": self.weights(), "gradients": self.gradients(), self._state_name: self.state(),
            "16-bit copies": self.copies(), "activations": self.activations(), "loss": self.loss(),
            "other models": self.beside(), "communication": self.communication(),
            "runtime": 0.0 if self.gpu else FIRST_STEPS,
        }  # fmt: skip
        static = sum(parts[name] for name in ("weights", "other models", "communication", "runtime"))
        # Paged state makes room under pressure: it lies on the host, whence one tensor's comes at a time.
        static += 0 if self.paged else parts[self._state_name]
        # Gradients lie there all the time where they are summed over micro-batches, or shared with other ranks.
        summed = self.setup.batch_size > self.setup.micro_batch_size or self.ranks > 1
        forward = static + (parts["gradients"] if summed else 0) + parts["activations"]
        # Recomputation ends each block's forward pass without a graph, and autocast forgets its copies after the last.
        copies = parts["16-bit copies"]
        back = forward + (0 if self.setup.gradient_checkpointing else copies)
        moments = {
            "the loss is computed": forward + copies + self._loss_forward(),
            "the loss is differentiated": back + parts["loss"],
            "the first block goes back": back + self._head_gradient() + self._block_back(),
            "the last block goes back": static + parts["gradients"] + self._embedding_gradient() + self._block_back(),
            "the optimizer steps": static + parts["gradients"] + self._optimizer_temporaries(),
        }
        return Prediction({name: value for name, value in parts.items() if value}, moments, self.trained)

    @property
    def _state_name(self) -> str:
        return "paged state" if self.paged else "optimizer state"

    @property
    def _writes(self) -> float:
        """Positions that are scored over the vocabulary, by token of a sequence."""
        return 0.0 if self.held.headless else (self.held.target_share if self.shape.decoders else 1.0)

    def weights(self) -> float:
        """What the model holds, and what was added to it."""
        added = self.value * (self.trained if self.learning.apart else self.critics)
        if self.divided_in_16_bits and self.held.storage is None:
            return (2.0 * self.shape.parameters + added) / (self.ranks if self.zero == 3 else 1)
        return (stored_bytes(self.held, self.setup.precision) + added) / (self.ranks if self.zero == 3 else 1)

    def gradients(self) -> float:
        """One value for each that learns."""
        value = 2 if self.divided_in_16_bits else self.value
        return float(value * self.trained) / (self.ranks if self.zero >= 2 else 1)

    def state(self) -> float:
        """Adam's two moments; Muon's one of hidden matrices; with ZeRO a copy of the weights in 32 bits besides."""
        if self.zero:
            return 12.0 * self.trained / self.ranks
        moments = 2 * self.trained
        if self.setup.optimizer == "muon":
            moments -= self.learning.matrices(self.shape)
        return float(self.value * moments)

    def copies(self) -> float:
        """Weights that autocast has cast: the graph keeps them until the backward pass has passed."""
        if not self.types.mixed or self.divided_in_16_bits or not self.learning.through:
            return 0.0
        matrices = 0 if self.held.storage is not None else self.shape.linear_parameters()
        head = 0 if self.held.headless else self.shape.vocabulary * self.shape.hidden
        if self.setup.gradient_checkpointing and not self.learning.everything:
            matrices = 0  # each block casts its own, and lets them go
        return 2.0 * (matrices + head)

    def activations(self) -> float:
        """What autograd keeps, the loss left out."""
        if not self.learning.through:
            return 0.0
        shape, written = self.shape, self.held.target_share
        if self.setup.gradient_checkpointing:
            block = decoder = float(self.types.plain * shape.hidden)
        else:
            block, decoder = self._block(False), self._block(True)
        total = shape.layers * block + ends_bytes(shape, self.forward)
        total += shape.decoders * decoder * written
        total *= 1 + self.held.critics
        if not self.held.headless:
            total += head_bytes(shape, self.forward, trains=self.learning.everything) * (written if decoder else 1)
        return total * self.tokens

    def loss(self) -> float:
        """The log-softmax that is kept, and the gradients that going back through it makes."""
        kept, temporary = logits_bytes(self.shape)
        return (kept * self.held.losses + temporary) * self.tokens * self._writes

    def beside(self) -> float:
        """Frozen models: their weights, and the states of all their layers where these are compared."""
        value = _value_bytes(self.setup.precision)
        weights = sum(float(value * one.parameters) for one in self.held.beside)
        states = sum((one.layers + 1) * one.hidden for one in self.held.beside) if self.held.compares_states else 0
        return weights + states * self.types.plain * self.tokens

    def communication(self) -> float:
        """Buckets in which ranks exchange gradients: as large as these without ZeRO."""
        return self.gradients() if self.ranks > 1 and not self.zero else 0.0

    def _loss_forward(self) -> float:
        """Logits, in 16 bits and again in 32, and the log-softmax that is kept; against a teacher's much more."""
        vocabulary = self.shape.vocabulary * self.tokens * self._writes
        kept = 4 * vocabulary * self.held.losses
        if self.held.losses > 1:  # logits of both, those that count, both over T, and the divergence's own temporaries
            return kept + 7 * 4 * vocabulary
        return kept + (10 if self.types.product == 2 else 4) * vocabulary

    def _kernel(self) -> str:
        if self.setup.attention == "eager":
            return "eager"
        return "math" if self.setup.attention_kernel == "MATH" else "flash"

    def _block(self, decoder: bool) -> float:
        if decoder and not self.shape.decoders:
            return 0.0
        prefix = getattr(self.learning, "length", 0)
        own = max(1, round(self.length * (self.held.target_share if decoder else 1)))
        kept = block_bytes(self.shape, self.forward, own + prefix, decoder=decoder, memory=self.length)
        return kept + self.learning.added_bytes(self.shape, self.types, decoder)

    def _block_back(self) -> float:
        """While one block goes back: gradients of its wide states, and what it computes again."""
        if not self.learning.through:
            return 0.0
        wide = 3 * self.shape.intermediate if self.shape.family in ("llama", "gpt2") else 2 * self.shape.intermediate
        total = float((wide + 2 * self.shape.hidden) * self.types.product)
        if self.forward.kernel in ("eager", "math"):
            total += 2 * 4 * self.shape.heads * self.length
        if self.setup.gradient_checkpointing:
            total += self._block(bool(self.shape.decoders))
        return total * self.tokens

    def _head_gradient(self) -> float:
        if not self.learning.everything or self.held.headless:
            return 0.0
        return float(self.value * self.shape.vocabulary * self.shape.hidden)

    def _embedding_gradient(self) -> float:
        """A tied table's gradient comes twice, and is then summed."""
        return self._head_gradient() if self.shape.tied else 0.0

    def _optimizer_temporaries(self) -> float:
        """Two values of the largest tensor at a time on a CPU, one of every value at once on a GPU (``foreach``)."""
        if self.paged:
            return 0.0
        if self.gpu:
            return float(self.value * self.trained) / (self.ranks if self.zero else 1)
        if not self.learning.everything:
            return 0.0
        return 2.0 * self.value * max(self.shape.vocabulary, self.shape.intermediate) * self.shape.hidden


def _without_head(shape: Shape) -> int:
    return shape.parameters - shape.head_parameters()


def _rows(shape: Shape) -> int:
    def of(decoder: bool) -> int:
        return sum(one.outputs for one in shape.linears(decoder=decoder))

    return shape.layers * of(False) + (shape.decoders * of(True) if shape.decoders else 0)


def _value_bytes(precision: str) -> int:
    return 2 if precision in ("bf16", "fp16") else 4


def _product_bytes(precision: str) -> int:
    return 4 if precision == "fp32" else 2
