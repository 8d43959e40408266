"""``gguf``: the weights as a GGUF file of one of llama.cpp's types, scored in llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Checkpoint, Job, param
from harness.memory.held import Held
from harness.plain_code import PlainCode
from harness.training.calibration import Calibrated, CalibrationParams, calibration_windows


class Gguf(Calibrated):
    """Converts a Llama or GPT-2 to GGUF, quantises it with llama.cpp, and opens it there.

    llama.cpp computes in types of its own, whatever the cell's precision: that is of the training before, if any. With
    ``importance`` the rounding is weighted by the mean square of each input over calibration text.
    """

    summary = "a GGUF file of one of llama.cpp's types, computed by llama.cpp"
    source = "llama.cpp, 2023, and its format, version 3; libraries: gguf, llama-cpp-python"
    requires = ("llama_cpp", "gguf", "torch", "transformers")
    environment = "gguf"
    devices = ("cpu",)
    revision = 1
    ends = "makes a file that llama.cpp alone reads"

    @dataclass(frozen=True)
    class Params(CalibrationParams):
        type: str = param(
            "F16", "llama.cpp's name of the mixture of tensor types",
            choices=("F32", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K"),
        )  # fmt: skip
        importance: bool = param(False, "weight the rounding by an importance matrix from calibration text")

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        if not params.importance:
            self.view = None

    def holds(self, model: Held) -> Held:
        """Bits of a value over a whole model of Llama-3's shape, by the sizes that llama.cpp's quantize tool lists."""
        bits = {"F32": 32, "F16": 16, "Q8_0": 8.5, "Q6_K": 6.57, "Q5_K_M": 5.7, "Q4_K_M": 4.9, "Q4_0": 4.64,
                "Q3_K_M": 4.0, "Q2_K": 3.17}[self.params.type]  # fmt: skip
        return model.stored(bits, rest_bits=bits)

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """llama.cpp's own tools, and its binding for Python."""
        kind = self.params.type
        return PlainCode(
            "# in a checkout of llama.cpp:\n"
            "#   python convert_hf_to_gguf.py SOURCE --outfile plain.gguf\n"
            f"#   llama-quantize plain.gguf TARGET.gguf {kind}",
            use='model = Llama(f"{target}.gguf")',
            imports=("from llama_cpp import Llama",),
        )

    def compress(self, job: Job) -> Checkpoint:
        """Convert (adapters merged first), quantise, and read back which types the tensors really have."""
        from harness.models.gguf.making import make_file

        windows = calibration_windows(job, self.params) if self.params.importance else None
        return make_file(job, self.params.type, windows)

    def eval(self, job: Job) -> Any:
        """Open the file in llama.cpp."""
        from harness.models.gguf.runtime import open_scorer

        return open_scorer(job)
