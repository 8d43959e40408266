"""A GGUF file behind the ``Scorer`` contract, computed by llama.cpp: token ids in, logits out.

Text becomes ids by the checkpoint's own tokenizer, so that the windows are those of every other method. Keys and values
are kept in 16 bits, which is llama.cpp's default.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contract import Job, KeyValues
from harness.errors import StepError
from harness.models.completion import Ends
from harness.models.continuations import Continued, Pair
from harness.models.gguf.logging import log_of_llama_cpp
from harness.models.gguf.packs import TEXTS, TOKENS, score
from harness.models.gguf.quantizing import read_tensors
from harness.models.loading import load_tokenizer
from harness.models.special import automatic_bos
from harness.models.text_side import TextSide

if TYPE_CHECKING:
    import numpy

FILE = "model.gguf"
MOST_AT_ONCE = TOKENS
BYTES_OF_A_VALUE = 2  # of a key or a value
# Contexts grow by so many tokens at a time.
STEP = 256


def open_scorer(job: Job) -> GgufScorer:
    """Open the GGUF file of the job's checkpoint with as many threads as the step has."""
    tokenizer = load_tokenizer(job.checkpoint) if "tokenizer" in job.checkpoint.parts else None
    return GgufScorer(job.checkpoint.parts["model"] / FILE, tokenizer, threads_of(job))


def threads_of(job: Job) -> int:
    """Threads that a step asks for, or every core that it may use."""
    return job.hardware.threads or len(os.sched_getaffinity(0))


class LlamaCpp:
    """A model in llama.cpp with one context, in which up to ``rows`` texts are kept apart."""

    def __init__(self, file: Path, threads: int) -> None:
        import llama_cpp

        self._library = llama_cpp
        self._threads = threads
        self._context: Any = None
        self._rows = self._tokens = 0
        self._together = False
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        with log_of_llama_cpp() as said:
            self._model = llama_cpp.llama_model_load_from_file(str(file).encode(), options)
        if not self._model:
            raise StepError(f"llama.cpp cannot open {file.name}: {said.last_error() or 'no reason given'}")
        self.vocabulary_size = int(llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model)))
        self.max_length = int(llama_cpp.llama_model_n_ctx_train(self._model))

    def begin(self, tokens: int, rows: int = 1) -> None:
        """Forget everything that was read; from here on ``rows`` texts of at most ``tokens`` are read side by side.

        ``StepError`` where the model's context is shorter.
        """
        library = self._library
        if tokens > self.max_length:
            raise StepError(f"{tokens} tokens do not fit the model's context of {self.max_length}")
        if rows > self._rows or tokens > self._tokens or self._together:
            whole = min(self.max_length, -(-tokens // STEP) * STEP)
            kept = (0, 0) if self._together else (self._rows, self._tokens)
            self._open(max(rows, kept[0]), max(whole, kept[1]))
        library.llama_memory_clear(library.llama_get_memory(self._context), True)

    def read(self, rows: Sequence[Sequence[int]], start: int, *, every: bool) -> numpy.ndarray:
        """Read equally long pieces, which begin at position ``start`` of their texts; float32 [outputs, vocabulary].

        Outputs are the logits after every token of every row in turn, or after each row's last one.
        """
        library, length = self._library, len(rows[0])
        batch = library.llama_batch_init(len(rows) * length, 0, 1)
        try:
            batch.n_tokens = len(rows) * length
            for number, (row, column) in enumerate(itertools.product(range(len(rows)), range(length))):
                batch.token[number] = rows[row][column]
                batch.pos[number] = start + column
                batch.n_seq_id[number] = 1
                batch.seq_id[number][0] = row
                batch.logits[number] = every or column == length - 1
            return self._decoded(batch, len(rows) * (length if every else 1))
        finally:
            library.llama_batch_free(batch)

    def kept(self, rows: int, tokens: int) -> KeyValues:
        """What the context keeps of ``rows`` texts of ``tokens``: keys and values, and a dozen bytes for each place.

        It is what llama.cpp would write to keep them; the room for them is made at once, for the whole context.
        """
        library, model = self._library, self._model
        with log_of_llama_cpp():
            held = sum(int(library.llama_state_seq_get_size(self._context, row)) for row in range(rows))
        heads = int(library.llama_model_n_head(model))
        width = int(library.llama_model_n_head_kv(model)) * int(library.llama_model_n_embd(model)) // heads
        expected = 2 * int(library.llama_model_n_layer(model)) * width * rows * tokens * BYTES_OF_A_VALUE
        return KeyValues(held, rows * tokens, expected)

    def read_together(
        self, ids: Sequence[int], positions: Sequence[int], owners: Sequence[Sequence[int]], asked: Sequence[int]
    ) -> numpy.ndarray:
        """Read tokens of several texts at once, each owned by one or more of them; float32 [asked, vocabulary].

        ``asked`` are the places of the tokens whose logits are wanted, in their order. Nothing is remembered.
        """
        library, wanted = self._library, set(asked)
        texts = 1 + max(max(own) for own in owners)
        if not self._together or texts > self._rows or len(ids) > self._tokens:
            self._open(max(texts, TEXTS), max(len(ids), MOST_AT_ONCE), together=True)
        library.llama_memory_clear(library.llama_get_memory(self._context), True)
        batch = library.llama_batch_init(len(ids), 0, max(map(len, owners)))
        try:
            batch.n_tokens = len(ids)
            for number, (token, position, own) in enumerate(zip(ids, positions, owners, strict=True)):
                batch.token[number], batch.pos[number] = token, position
                batch.n_seq_id[number] = len(own)
                for place, text in enumerate(own):
                    batch.seq_id[number][place] = text
                batch.logits[number] = number in wanted
            return self._decoded(batch, len(asked))
        finally:
            library.llama_batch_free(batch)

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text by the file's own vocabulary, no special token added or read."""
        library, data = self._library, text.encode()
        room = len(data) + 8
        ids = (library.llama_token * room)()
        vocabulary = library.llama_model_get_vocab(self._model)
        count = library.llama_tokenize(vocabulary, data, len(data), ids, room, False, False)
        if count < 0:
            raise StepError("llama.cpp cannot split this text: the file has no vocabulary")
        return list(ids[:count])

    def close(self) -> None:
        """Free the context and the model."""
        if self._context is not None:
            self._library.llama_free(self._context)
        if self._model:
            self._library.llama_model_free(self._model)
        self._context = self._model = None

    def _decoded(self, batch: Any, outputs: int) -> numpy.ndarray:
        """Compute a batch; float32 [outputs, vocabulary]."""
        import numpy

        with log_of_llama_cpp() as said:
            code = self._library.llama_decode(self._context, batch)
        if code != 0:
            raise StepError(f"llama.cpp cannot compute {batch.n_tokens} tokens: {said.last_error() or code}")
        pointer = self._library.llama_get_logits(self._context)
        found = numpy.ctypeslib.as_array(pointer, shape=(outputs * self.vocabulary_size,))
        return found.reshape(outputs, self.vocabulary_size).copy()

    def _open(self, rows: int, tokens: int, *, together: bool = False) -> None:
        """Make a context that is as large as what is read: the model's own would be counted as memory in use.

        Texts that are read ``together`` share ``tokens``, others have so many each.
        """
        library = self._library
        if self._context is not None:
            library.llama_free(self._context)
        self._context, self._rows, self._tokens, self._together = None, 0, 0, False
        options = library.llama_context_default_params()
        whole = tokens if together else tokens * rows
        options.n_ctx = options.n_batch = whole
        options.n_seq_max = rows
        options.n_ubatch = min(whole, MOST_AT_ONCE)
        options.kv_unified = together
        options.n_threads = options.n_threads_batch = self._threads
        with log_of_llama_cpp() as said:
            self._context = library.llama_init_from_model(self._model, options)
        if not self._context:
            raise StepError(f"llama.cpp cannot make a context: {said.last_error() or 'no reason given'}")
        self._rows, self._tokens, self._together = rows, tokens, together


class GgufScorer(TextSide):
    """Scores and generates in llama.cpp."""

    def __init__(self, file: Path, tokenizer: Any, threads: int) -> None:
        super().__init__(tokenizer)
        self._tensors = read_tensors(file)
        self._runtime = LlamaCpp(file, threads)
        self.vocabulary_size = self._runtime.vocabulary_size
        self.max_length = self._runtime.max_length
        self.bos_id = automatic_bos(tokenizer)
        self.key_values: KeyValues | None = None

    def log_probabilities(self, sequences: Sequence[Sequence[int]]) -> list[numpy.ndarray]:
        """For each sequence of n tokens, float32 [n-1, vocabulary] of natural log-probabilities."""
        return [self._scores(sequence) for sequence in sequences]

    def target_log_probabilities(self, sequences: Sequence[Sequence[int]]) -> list[numpy.ndarray]:
        """For each sequence of n tokens, float32 [n-1]: the log-probability of each token after the first."""
        import numpy

        found = []
        for sequence in sequences:
            targets = numpy.asarray(sequence[1:])
            found.append(self._scores(sequence)[numpy.arange(len(targets)), targets])
        return found

    def continuations(self, pairs: Sequence[Pair]) -> list[Continued]:
        """For each context and continuation, how likely its tokens are; what pairs share is read once."""
        longest = max((len(context) + len(continuation) - 1 for context, continuation in pairs), default=0)
        if longest > self.max_length:
            raise StepError(f"{longest} tokens do not fit the model's context of {self.max_length}")
        return score(self._runtime, pairs)

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, on_tokens: Callable[[list[int]], None]
    ) -> None:
        """Generate greedily for equally long prompts, each a text of its own in one context."""
        self._runtime.begin(len(prompts[0]) + new_tokens, len(prompts))
        pieces: list[list[int]] = [list(prompt) for prompt in prompts]
        place = 0
        for _ in range(new_tokens):
            logits = self._runtime.read(pieces, place, every=False)
            place += len(pieces[0])
            pieces = [[int(token)] for token in logits.argmax(axis=1)]
            on_tokens([piece[0] for piece in pieces])
        self.key_values = self._runtime.kept(len(prompts), place)

    def complete(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, ends: Ends | None = None
    ) -> list[list[int]]:
        """At most ``new_tokens`` greedy ids after each prompt, until the end of text or until it ``ends``."""
        found = []
        for prompt in prompts:
            ids: list[int] = []
            self._runtime.begin(min(len(prompt) + new_tokens, self.max_length))
            piece, place = list(prompt), 0
            while len(ids) < new_tokens:
                token = int(self._runtime.read([piece], place, every=False).argmax())
                if token == self.eos_id:
                    break
                ids.append(token)
                if ends is not None and ends(ids):
                    break
                place += len(piece)
                piece = [token]
            found.append(ids)
        return found

    def describe(self) -> dict[str, Any]:
        """Tensor types of the file, its parameters, and the library that computes."""
        tensors = self._tensors
        return {
            "layer_classes": {"llama.cpp tensor": len(tensors.matrices)},
            "dtypes": dict(sorted(tensors.elements.items())),
            "quantized_layers": tensors.counts,
            "left": tensors.left,
            "parameters": sum(tensors.elements.values()),
            "layers": tensors.layers,
            "attention": "llama.cpp",
        }

    def _scores(self, sequence: Sequence[int]) -> numpy.ndarray:
        import numpy

        self._runtime.begin(len(sequence))
        logits = self._runtime.read([sequence], 0, every=True)[:-1]
        logits -= logits.max(axis=1, keepdims=True)
        found: numpy.ndarray = logits - numpy.log(numpy.exp(logits).sum(axis=1, keepdims=True))
        return found
