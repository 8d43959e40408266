"""llama.cpp's quantisation: from a GGUF file in 32 bits to one of a named type, and what is really in it afterwards."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StepError
from harness.models.gguf.logging import log_of_llama_cpp

if TYPE_CHECKING:
    import numpy

# What each type may hold, by llama.cpp's own mixtures: attention's values, half of the feed-forward blocks' outputs and
# the output layer get more bits than the rest.
_K_QUANTS = frozenset({"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"})
TYPES: dict[str, frozenset[str]] = {
    "F32": frozenset({"F32"}), "F16": frozenset({"F16"}), "Q8_0": frozenset({"Q8_0"}), "Q6_K": _K_QUANTS,
    "Q5_K_M": _K_QUANTS, "Q4_K_M": _K_QUANTS, "Q4_0": frozenset({"Q4_0", "Q4_1", "Q6_K"}), "Q3_K_M": _K_QUANTS,
    "Q2_K": _K_QUANTS,
}  # fmt: skip
NEVER_QUANTIZED = ("position_embd.weight",)
SMALLEST_BLOCK = 32
_PLAIN = frozenset({"F32", "F16", "BF16"})
FILE_TYPES = {
    "F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0", "Q6_K": "MOSTLY_Q6_K", "Q5_K_M": "MOSTLY_Q5_K_M",
    "Q4_K_M": "MOSTLY_Q4_K_M", "Q4_0": "MOSTLY_Q4_0", "Q3_K_M": "MOSTLY_Q3_K_M", "Q2_K": "MOSTLY_Q2_K",
}  # fmt: skip


@dataclass(frozen=True)
class Tensors:
    """Matrices of a GGUF file: how many of each type, elements and bytes by type over all tensors, and the metadata.

    ``matrices`` are the types by name, ``rows`` the lengths of their rows.
    """

    matrices: Mapping[str, str]
    rows: Mapping[str, int]
    elements: Mapping[str, int]
    bytes: Mapping[str, int]
    layers: int
    architecture: str

    @property
    def counts(self) -> dict[str, int]:
        """Number of matrices by type."""
        return dict(sorted(Counter(self.matrices.values()).items()))

    @property
    def left(self) -> dict[str, str]:
        """Matrices of a quantised file that are not quantised, and why."""
        plain = [name for name, kind in self.matrices.items() if kind in _PLAIN]
        if len(plain) == len(self.matrices):
            return {}
        return {name: _why_left(name, self.rows[name]) for name in plain}

    def fallbacks(self, asked: str) -> dict[str, int]:
        """Matrices by type that the asked type does not hold: llama.cpp put them in another one."""
        found = Counter(kind for name, kind in self.matrices.items() if name not in NEVER_QUANTIZED)
        return {kind: count for kind, count in sorted(found.items()) if kind not in TYPES[asked]}


def quantize_file(
    source: Path, target: Path, kind: str, threads: int, importance: Mapping[str, numpy.ndarray] | None
) -> None:
    """Write ``source`` (32 bits) as ``target`` of type ``kind``; ``StepError`` with llama.cpp's reason.

    ``importance`` gives for a tensor name the mean square of each input, float32 [inputs].
    """
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread = threads
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_{FILE_TYPES[kind]}")
    table = _importance(importance) if importance else None
    if table is not None:
        params.imatrix = table
    with log_of_llama_cpp() as said:
        code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    if code != 0 or not target.is_file():
        raise StepError(f"llama.cpp cannot quantise to {kind}: {said.last_error() or f'code {code}'}")


def read_tensors(file: Path) -> Tensors:
    """Types and sizes of what a GGUF file holds; ``StepError`` in one line where it is none, or cut off."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        architecture = str(reader.fields["general.architecture"].contents())
        layers = int(reader.fields[f"{architecture}.block_count"].contents())
    except (ValueError, KeyError, IndexError, OverflowError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise StepError(f"{file.name} is no whole GGUF file: {reason}; make it again") from None
    elements, size = Counter[str](), Counter[str]()
    matrices, rows = {}, {}
    for tensor in reader.tensors:
        name = tensor.tensor_type.name
        elements[name] += int(tensor.n_elements)
        size[name] += int(tensor.n_bytes)
        if len(tensor.shape) == 2:
            matrices[str(tensor.name)], rows[str(tensor.name)] = name, int(tensor.shape[0])
    return Tensors(matrices, rows, dict(elements), dict(size), layers, architecture)


def _why_left(name: str, row: int) -> str:
    if name in NEVER_QUANTIZED:
        return "positions, which llama.cpp never quantises"
    return f"rows of {row} are no multiple of {SMALLEST_BLOCK}" if row % SMALLEST_BLOCK else "kept by llama.cpp"


def _importance(values: Mapping[str, numpy.ndarray]) -> Any:
    """The table that llama.cpp reads, ended by an empty entry; it refers to the arrays' memory."""
    import llama_cpp

    table = (llama_cpp.llama_model_imatrix_data * (len(values) + 1))()
    for entry, (name, array) in zip(table, values.items(), strict=False):
        entry.name = name.encode()
        entry.data = array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = array.size
    return table
