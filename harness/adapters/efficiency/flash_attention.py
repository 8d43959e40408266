"""``flash_attention``: which kernel computes attention while a stage trains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.contract import KIND_OF_HEAD, Adapter, Hardware, Modifier, TrainingSetup, param
from harness.memory.held import Held

# How transformers names the implementation, and which of torch's kernels it may use then.
KERNELS = {
    "eager": ("eager", None),
    "math": ("sdpa", "MATH"),
    "memory_efficient": ("sdpa", "EFFICIENT_ATTENTION"),
    "flash": ("sdpa", "FLASH_ATTENTION"),
    "flash_attn": ("flash_attention_2", None),
}


class FlashAttention(Modifier):
    """Fixes the kernel, so that nothing falls back to another one unseen: where it cannot run, the step fails.

    ``eager`` is transformers' own, which writes the whole matrix of attention; the others are torch's (``math``,
    ``memory_efficient``, ``flash``) and the package flash-attn's.

    A training without this modifier uses what torch chooses, which is its flash kernel wherever that can run: compare
    with ``kernel=eager`` to see what it gives.
    """

    summary = "attention by a named kernel"
    source = "Dao et al. 2022, arXiv:2205.14135; through torch's scaled_dot_product_attention and flash-attn"
    requires = ("torch", "transformers")

    @dataclass(frozen=True)
    class Params:
        kernel: str = param("flash", "what computes attention", choices=tuple(KERNELS))

    def skip(self, precision: str, hardware: Hardware) -> str | None:
        """Two of the kernels exist for GPUs alone, and one of them is a package of its own."""
        kernel = self.params.kernel
        if kernel in ("memory_efficient", "flash_attn") and hardware.device != "cuda":
            return f"kernel={kernel} runs on GPUs alone"
        if kernel in ("flash", "flash_attn") and hardware.device == "cuda" and precision == "fp32":
            return f"kernel={kernel} computes in 16 bits on GPUs; use bf16-mixed"
        if kernel == "flash_attn":
            from harness.catalogue import missing_packages

            return next(iter(missing_packages(["flash_attn"])), None)
        return None

    def unfit(self, technique: Adapter, kind: str, architecture: str | None, hardware: Hardware) -> str | None:
        """Flash kernels know no mask but the causal one, and take no bias that learns."""
        kernel = self.params.kernel
        if architecture == "t5" and (kernel == "flash_attn" or (kernel == "flash" and _all_learns(technique, "t5"))):
            return f"kernel={kernel} cannot add T5's bias of positions: use eager or math"
        masked = "seq2seq" if kind == "seq2seq" else technique.makes_kind
        if kernel == "flash" and hardware.device == "cuda" and masked in ("seq2seq", *KIND_OF_HEAD.values()):
            return f"kernel=flash takes no mask on a GPU, which padded batches of a {masked} model need"
        return None

    def modify(self, setup: TrainingSetup) -> TrainingSetup:
        """Name the implementation and the kernel."""
        implementation, kernel = KERNELS[self.params.kernel]
        return replace(setup, attention=implementation, attention_kernel=kernel)


def _all_learns(technique: Adapter, architecture: str) -> bool:
    """Whether a technique trains every weight of such a model, and not adapters or a head alone."""
    held = technique.holds(Held.of_sizes({"architecture": architecture}))
    return held is not None and held.learning.everything
