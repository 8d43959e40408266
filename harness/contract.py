"""The contract between techniques, tasks and the machinery that runs them. Light: the standard library alone.

An ``Adapter`` makes checkpoints and opens them; a ``Task`` scores what an adapter opened; a ``Job`` is what both are
given inside a worker. Neither times anything: the meter in the job does, around them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from harness.errors import UsageError

if TYPE_CHECKING:
    import numpy

    from harness.memory.held import Held
    from harness.plain_code import PlainCode

PRECISIONS = ("fp32", "bf16-mixed", "bf16", "fp16-mixed", "fp16")

# The kind of checkpoint that a head trained on each view makes.
KIND_OF_HEAD = {"labels": "classifier", "choices": "multiple_choice"}

# Raised when a number starts to mean something else; part of every step's id and of the hard facts.
MEASUREMENT_VERSION = 1


def param(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[Any] | None = None,
    neutral: Any = ...,
) -> Any:
    """Declare one parameter of a technique or task: its default, one line of help and its bounds (inclusive).

    ``neutral`` is for a parameter that is added to a technique that has records already: at this value everything is
    as it was before there was the parameter, so steps at it keep their ids. It never changes, the default may.
    """
    metadata: dict[str, Any] = {"help": help, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata if neutral is ... else metadata | {"neutral": neutral})


@dataclass(frozen=True)
class NoParams:
    """The parameters of a technique that has none."""


@dataclass(frozen=True)
class TrainingParams:
    """Parameters that every technique that trains shares; a technique's own ``Params`` derives from this."""

    learning_rate: float = param(1e-3, "peak learning rate", low=0.0)
    schedule: str = param(
        "cosine", "learning-rate schedule after the warm-up", choices=("constant", "linear", "cosine")
    )
    warmup_share: float = param(0.05, "share of the steps over which the rate rises", low=0.0, high=1.0)
    optimizer: str = param("adamw", "optimiser", choices=("adamw", "muon"))
    weight_decay: float = param(0.0, "decoupled weight decay", low=0.0)
    max_grad_norm: float = param(1.0, "gradients are clipped to this norm; 0 leaves them", low=0.0)
    tokens: int | None = param(None, "token budget of this stage; overrides the suite's", low=1)
    steps: int | None = param(None, "optimiser-step budget of this stage; overrides the suite's", low=1)
    batch_size: int | None = param(None, "sequences per optimiser step; overrides the suite's", low=1, neutral=None)
    sequence_length: int | None = param(None, "tokens per sequence; overrides the suite's", low=2, neutral=None)


@dataclass(frozen=True)
class Hardware:
    """Where a step runs. ``threads`` 0 means every core of the machine."""

    device: str = "cpu"
    devices: int = 1
    threads: int = 0
    ranks: int = 1


@dataclass(frozen=True)
class Budget:
    """How much a training stage may use. Of ``tokens``, ``steps`` and ``bytes`` exactly one is set.

    ``bytes`` of text is the measure by which models over different tokenizers have read equally much.
    """

    tokens: int | None = None
    steps: int | None = None
    bytes: int | None = None
    batch_size: int = 8
    micro_batch_size: int | None = None
    sequence_length: int = 256
    evaluations: int = 4

    def of_stage(self, params: Any) -> Budget:
        """This budget with what a stage's own ``TrainingParams`` say in its place."""
        own = {name: getattr(params, name, None) for name in ("batch_size", "sequence_length")}
        budget = dataclasses.replace(self, **{name: value for name, value in own.items() if value is not None})
        if getattr(params, "steps", None) is not None:
            return dataclasses.replace(budget, steps=params.steps, tokens=None, bytes=None)
        if getattr(params, "tokens", None) is not None:
            return dataclasses.replace(budget, steps=None, tokens=params.tokens, bytes=None)
        return budget

    def optimizer_steps(self, bytes_per_token: float | None = None) -> int:
        """Optimiser steps: ``steps``, or tokens over the tokens of one full batch, at least 1.

        ``bytes`` become tokens by the training text's ``bytes_per_token``; ``UsageError`` where nobody knows it.
        """
        if self.steps is not None:
            return self.steps
        tokens = self.tokens or 0
        if self.bytes is not None:
            if not bytes_per_token:
                raise UsageError("a budget of bytes is for techniques that train on running text; give tokens or steps")
            tokens = round(self.bytes / bytes_per_token)
        return max(1, tokens // (self.batch_size * self.sequence_length))


@dataclass(frozen=True)
class TrainingSetup:
    """How a stage trains. A modifier turns one setup into another; nothing else may change how a stage trains."""

    learning_rate: float
    schedule: str
    warmup_share: float
    optimizer: str
    weight_decay: float
    max_grad_norm: float
    steps: int
    batch_size: int
    micro_batch_size: int
    sequence_length: int
    evaluations: int
    precision: str
    gradient_checkpointing: bool = False
    attention: str | None = None
    attention_kernel: str | None = None
    zero_stage: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A set of named parts, each a folder or file: ``tokenizer``, ``model``, ``peft``, ``config``, ``reward`` (a reward
    model), ``reference`` (what an alignment began with).

    ``kind`` is ``causal``, ``masked``, ``seq2seq``, ``classifier``, ``multiple_choice``, ``tokenizer`` or ``blank`` (an
    architecture without weights). ``opened_by`` holds what the loader needs to know beyond the files (a quantisation
    configuration, say). ``made`` names the parts that the stage itself made; the others were passed through.
    """

    kind: str
    parts: Mapping[str, Path]
    made: frozenset[str] = frozenset()
    opened_by: Mapping[str, Any] = field(default_factory=dict)

    def with_parts(
        self, kind: str | None = None, opened_by: Mapping[str, Any] | None = None, **parts: Path
    ) -> Checkpoint:
        """Return a checkpoint in which ``parts`` replace this one's and everything else passes through."""
        return Checkpoint(
            kind=kind or self.kind,
            parts={**self.parts, **parts},
            made=frozenset(parts),
            opened_by=dict(self.opened_by if opened_by is None else opened_by),
        )


    def with_model(self, folder: Path) -> Checkpoint:
        """Return a checkpoint with the model in ``folder`` in place of its own and of adapters over it."""
        parts = {name: path for name, path in self.parts.items() if name != "peft"}
        return Checkpoint(self.kind, parts).with_parts(model=folder)


@dataclass(frozen=True)
class KeyValues:
    """What a generation kept of the tokens that it read: the keys and values of every layer, for all prompts together.

    ``held_bytes`` are those of the live tensors (or what the runtime says), ``positions`` the tokens of all prompts
    that they stand for, ``expected_bytes`` what 2 x layers x key-value heads x head size x positions x bytes of a value
    gives.
    """

    held_bytes: int
    positions: int
    expected_bytes: int | None = None


class Meter(Protocol):
    """What an operation may tell the meter. It never reads a clock itself."""

    def span(self, name: str) -> AbstractContextManager[None]:
        """Attribute the time and the peak memory of the block to ``name``; an inner span pauses the outer one."""
        ...

    def step_begin(self) -> None:
        """Start the clock of one optimiser step (fetching its data included)."""
        ...

    def step_end(self, *, tokens: int, nonpadding_tokens: int, loss_tokens: int) -> None:
        """Stop that clock; the seconds since ``step_begin`` become one sample."""
        ...

    def step_cancel(self) -> None:
        """Forget a step that was begun and will not be taken."""
        ...

    def step_loss(self, step: int, loss: float) -> None:
        """Record the training loss of optimiser step ``step`` (from 1), read after the timed part."""
        ...

    def curve(self, step: int, **values: float) -> None:
        """Record values of declared metrics at one point of training."""
        ...

    def metric(self, name: str, value: float) -> None:
        """Record one value of a declared metric."""
        ...

    def sample(self, name: str, values: Sequence[float]) -> None:
        """Record the raw samples behind a declared metric."""
        ...

    def items(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Record per-item scores as equally long columns, so that methods can be compared paired."""
        ...

    def observe(self, name: str, value: Any) -> None:
        """Record what is really there: layer classes, dtypes, trainable names, hashes."""
        ...

    def flag(self, text: str) -> None:
        """Raise a validity flag that readers of the number must see."""
        ...

    def training_begins(self, held_bytes: int) -> None:
        """Note the memory in use before the first step, of which ``held_bytes`` (the model) belong to the training."""
        ...

    def progress(self) -> None:
        """Tell the launcher that the step is alive (resets the limit on silence)."""
        ...


class Dataset(Protocol):
    """A data set offers views; each view has the splits ``train``, ``validation`` and ``test``, which share nothing.

    ``text``: list of str. ``instructions``: {prompt, answer}. ``choices``: {prompt, options, label}.
    ``labels``: {text, label}. ``text_to_text``: {source, target}. ``pairs``: {prompt, chosen, rejected}.
    """

    name: str
    fingerprint: str

    def views(self) -> tuple[str, ...]:
        """Names of the views that this data set has."""
        ...

    def view(self, name: str, split: str) -> list[Any]:
        """Items of one split in their fixed order; ``DataError`` where the view is missing or empty."""
        ...


@dataclass
class Job:
    """What an operation is given inside its worker. ``rank`` counts from 0 where several processes train together.

    ``probe(budget, memory_bytes)`` trains the stage for a few steps in a process of its own that may take so much
    memory above what it begins with (None: all there is), for tasks that measure training; with ``give_back=True`` its
    heap returns what is freed to the system at once. ``inputs`` are the
    checkpoints that parameters name by a method (``reward=``, ``judge=``), ``named`` what a task's parameters name
    outside the suite.
    """

    params: Any
    checkpoint: Checkpoint
    data: Dataset
    precision: str
    hardware: Hardware
    seed: int
    budget: Budget
    meter: Meter
    output: Path
    modify: Callable[[TrainingSetup], TrainingSetup] = lambda setup: setup
    holds: Callable[[Held], Held | None] = lambda model: None
    reference: Path | None = None
    artefacts: Path | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    rank: int = 0
    probe: Callable[..., Probe] | None = None
    inputs: Mapping[str, Checkpoint] = field(default_factory=dict)
    named: Named | None = None

    def __post_init__(self) -> None:
        self.budget = self.budget.of_stage(self.params)

    def part(self, name: str) -> Path:
        """Return a new folder for the part ``name`` of the checkpoint that this operation makes."""
        path = self.output / name
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Probe:
    """How a short training in a process of its own ended: its status, why, the peak of its memory, what it measured."""

    status: str
    reason: str | None
    peak_bytes: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    observed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether it ran to its end."""
        return self.status == "done"


class Scorer(Protocol):
    """An opened checkpoint, in the runtime that it is meant for. Token ids are lists of int, most recent last.

    One that can tell what its last ``generate`` kept has it as its attribute ``key_values`` (``KeyValues`` or None).
    """

    vocabulary_size: int
    max_length: int
    bos_id: int | None
    eos_id: int | None

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text`` without special tokens."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``, special tokens left out."""
        ...

    def log_probabilities(self, sequences: Sequence[Sequence[int]]) -> list[numpy.ndarray]:
        """For each sequence of n tokens, float32 [n-1, vocabulary]: log p(. | tokens before), natural logarithm."""
        ...

    def target_log_probabilities(self, sequences: Sequence[Sequence[int]]) -> list[numpy.ndarray]:
        """For each sequence of n tokens, float32 [n-1]: log-probability of each token after the first."""
        ...

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, on_tokens: Callable[[list[int]], None]
    ) -> None:
        """Generate greedily for equally long prompts; ``on_tokens`` gets the batch's next ids as they come out."""
        ...

    def describe(self) -> dict[str, Any]:
        """What was really opened: layer classes, weight dtypes, parameter count, quantised layers."""
        ...


class Codec(Protocol):
    """An opened tokenizer, in the library that it is meant for. No special token is added, and none is read in text.

    What an adapter whose checkpoint is a tokenizer alone returns from ``eval``; a scorer of a model with a tokenizer
    has one as its attribute ``codec``. ``byte_ids`` are the pieces to which a tokenizer falls back for a character that
    it has no piece for (``<0xAB>``); a byte-level vocabulary has none.
    """

    library: str
    vocabulary_size: int
    unknown_id: int | None
    byte_ids: frozenset[int]

    def use_threads(self, threads: int) -> None:
        """Set how many threads a batch may use; once, before the first batch of the process."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of one text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of one sequence of ids."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, by the library's own way of taking many at once."""
        ...

    def decode_batch(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """Text of each sequence, by the library's own way of taking many at once."""
        ...

    def piece(self, token: int) -> bytes | None:
        """Bytes that a token stands for within a word; None for the unknown token and for special ones."""
        ...

    def describe(self) -> dict[str, Any]:
        """What was really opened: library, model class, vocabulary, normaliser and pre-tokenizer."""
        ...


class Adapter:
    """One technique. Override ``train``, ``compress`` or both; an operation that is not overridden makes no step.

    ``takes`` and ``gives`` name checkpoint parts, ``kinds`` the checkpoint kinds that the technique works on;
    ``architectures`` are those that it makes a model of from a blank checkpoint (none named: any); ``view`` is the data
    view that it trains or calibrates on. ``takes``, ``gives``, ``kinds``, ``makes_kind`` and ``view`` may depend on the
    parameters: an instance then has its own. ``ends`` says why nothing can follow what it makes, in words that go on
    from its name; ``refuses`` names parts that it cannot start from (``peft``: adapters that are not merged).
    ``revision`` is raised when a technique starts to do something else under the same parameters, so that its earlier
    records count no more. ``fills_sequences`` is False of one whose training does not read its data to the budget's
    sequence length. The plan reads all of these without importing anything heavy.
    """

    summary: ClassVar[str] = ""
    source: ClassVar[str] = ""
    requires: ClassVar[tuple[str, ...]] = ()
    environment: ClassVar[str] = "main"
    precisions: ClassVar[tuple[str, ...]] = PRECISIONS
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    takes: frozenset[str] = frozenset({"tokenizer", "model"})
    gives: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset({"causal"})
    makes_kind: str | None = None
    ends: ClassVar[str | None] = None
    refuses: ClassVar[frozenset[str]] = frozenset()
    revision: ClassVar[int] = 0
    fills_sequences: ClassVar[bool] = True
    architectures: ClassVar[frozenset[str]] = frozenset()
    view: str | None = None
    Params: ClassVar[type] = NoParams

    def __init__(self, params: Any) -> None:
        self.params = params

    def skip(self, precision: str, hardware: Hardware) -> str | None:
        """Return why this technique makes no sense at this precision on this hardware, or None."""
        return None

    def declines(self, setup: TrainingSetup, hardware: Hardware) -> str | None:
        """Return why this technique cannot train as its modifiers made the set-up, whatever its steps, or None."""
        return None

    def holds(self, model: Held) -> Held | None:
        """What lies in memory while the stage trains, and what its checkpoint is, for the prediction; None: not known.

        A tokenizer decides how many entries the embeddings of an architecture have.
        """
        entries = getattr(self.params, "vocab_size", None)
        return model.with_vocabulary(entries) if self.gives == {"tokenizer"} and entries else None

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """The same in the libraries' own lines, for who does without the harness; None where there is no such form.

        ``setup`` is what a training observed of its ``TrainingSetup``, empty for a stage that does not train.
        """
        return None

    def train(self, job: Job) -> Checkpoint:
        """Train, and return the checkpoint with the parts that were made."""
        return job.checkpoint

    def compress(self, job: Job) -> Checkpoint:
        """Compress, and return the checkpoint with the parts that were made."""
        return job.checkpoint

    def eval(self, job: Job) -> Scorer | Codec:
        """Open the checkpoint in the runtime that it is meant for."""
        from harness.models.opening import open_scorer

        opened: Scorer | Codec = open_scorer(job)
        return opened

    @classmethod
    def software(cls, operation: str) -> tuple[str, tuple[str, ...]]:
        """The environment that an operation runs in, and the top-level imports that it needs there."""
        return cls.environment, cls.requires

    @classmethod
    def operations(cls) -> tuple[str, ...]:
        """Which of ``train`` and ``compress`` this technique really has, in that order."""
        return tuple(name for name in ("train", "compress") if getattr(cls, name) is not getattr(Adapter, name))


class Modifier(Adapter):
    """A technique that changes how the stage it is added to trains; with nothing before it, full fine-tuning.

    ``precision`` is set where it only names a compute precision: the plan then makes one cell of both.
    """

    precision: str | None = None

    def unfit(self, technique: Adapter, kind: str, architecture: str | None, hardware: Hardware) -> str | None:
        """Return why this cannot be had where ``technique`` trains a model of ``kind``, or None.

        ``architecture`` is the name of one that the harness makes models of, None for a model that is given.
        """
        return None

    def modify(self, setup: TrainingSetup) -> TrainingSetup:
        """Return the changed setup; ``UsageError`` where it cannot be changed so. Pure: no import, no side effect."""
        raise NotImplementedError(f"{type(self).__name__} must define modify(setup)")


@dataclass(frozen=True)
class Named:
    """What parameters name outside the suite: ``content`` determines the result, by hash or version, and enters the
    step's id; ``paths`` are where a worker finds it, and do not.
    """

    content: Mapping[str, str]
    paths: Mapping[str, str] = field(default_factory=dict)


class Task:
    """One thing that is measured on an opened checkpoint; with ``measures_training``, on the training that makes it.

    Such a task is given the adapter instead of a scorer, and the checkpoint that the stage would begin with.
    For one with ``opens`` False nothing is opened: it is given None.
    ``preload`` are imports that a sweep with this task pays for once.
    ``methods`` names parameters that are methods: what they make, from the model, in fp32 and with seed 0 whatever the
    method that is scored, is in the job's ``inputs``.
    """

    summary: ClassVar[str] = ""
    requires: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[frozenset[str]] = frozenset({"causal"})
    needs: ClassVar[frozenset[str]] = frozenset({"tokenizer", "model"})
    needs_trained_weights: ClassVar[bool] = True
    compares_with_reference: ClassVar[bool] = False
    methods: ClassVar[tuple[str, ...]] = ()
    preload: ClassVar[tuple[str, ...]] = ()
    measures_training: ClassVar[bool] = False
    opens: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ()
    Params: ClassVar[type] = NoParams

    def __init__(self, params: Any) -> None:
        self.params = params

    def view(self) -> str | None:
        """The data view that this task scores, or None."""
        return None

    def named(self, folder: Path) -> Named | None:
        """What the parameters name in files, from ``folder``, or in packages; ``UsageError`` where it cannot be used.

        Asked by the plan: nothing heavy is imported, and no code that lies there is executed.
        """
        return None

    def fetch(self, named: Named | None) -> None:
        """Bring what the task itself reads of the hub into the hub's cache; ``harness prepare`` asks for it, with
        what ``named`` found. Whoever measures is offline.
        """

    def conflict(self, chain: Sequence[Adapter], inputs: Mapping[str, Sequence[Adapter]]) -> str | None:
        """Why a method of these techniques cannot be scored beside its ``inputs`` (chains by parameter), or None."""
        return None

    def score(self, scorer: Any, job: Job) -> None:
        """Measure what the adapter opened, a ``Scorer`` or ``Codec``, and hand every number to ``job.meter``."""
        raise NotImplementedError(f"{type(self).__name__} must define score(scorer, job)")


class TrainingTask(Task):
    """A task that measures the training of whatever kind of model, trained before or not, by ``job.probe``."""

    requires = ("torch", "transformers", "accelerate")
    kinds = frozenset({"causal", "masked", "seq2seq", "classifier", "multiple_choice"})
    needs = frozenset({"model"})
    needs_trained_weights = False
    measures_training = True


class HarnessTask(Task):
    """A task that looks at the harness itself, whatever the method and the model are."""

    kinds = frozenset()
    needs = frozenset()
    needs_trained_weights = False
    opens = False


def identifying(values: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name that determine a result: all but those at their neutral value."""
    found = {}
    for item in dataclasses.fields(values):
        value = getattr(values, item.name)
        if "neutral" not in item.metadata or value != item.metadata["neutral"]:
            found[item.name] = value
    return found


def defaults(params_type: type) -> dict[str, Any]:
    """Return the default of every parameter of a ``Params`` class, by name."""
    return {item.name: item.default for item in dataclasses.fields(params_type)}
