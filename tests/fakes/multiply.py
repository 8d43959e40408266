"""A fake technique that uses torch: a matrix product and a tensor of a given size, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Job, param


class Multiply(Adapter):
    """Multiplies matrices, the way a hang after a fork shows itself."""

    summary = "one matrix product"
    requires = ("torch",)
    takes = frozenset()

    @dataclass(frozen=True)
    class Params:
        """Sizes."""

        size: int = param(256, "rows of the matrix")
        block_bytes: int = param(0, "bytes of one more tensor, filled")

    def train(self, job: Job) -> Checkpoint:
        """Multiply, and leave the trace of the product."""
        import torch

        matrix = torch.eye(self.params.size) * 2
        product = matrix @ matrix
        torch.ones(self.params.block_bytes, dtype=torch.uint8)
        (job.part("model") / "config.json").write_text(str(product.trace().item()))
        job.meter.observe("trace", product.trace().item())
        job.meter.observe("threads", torch.get_num_threads())
        return job.checkpoint.with_parts(kind="causal", model=job.output / "model")
