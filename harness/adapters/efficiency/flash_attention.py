"""``flash_attention``: which kernel computes attention while a stage trains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.contract import Hardware, Modifier, TrainingSetup, param

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

    def modify(self, setup: TrainingSetup) -> TrainingSetup:
        """Name the implementation and the kernel."""
        implementation, kernel = KERNELS[self.params.kernel]
        return replace(setup, attention=implementation, attention_kernel=kernel)
