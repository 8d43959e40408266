"""Training in several processes: DeepSpeed's configuration, whole weights to save, what each process really holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from harness.contract import TrainingSetup

# Steps that are profiled for communication: within the warm-up, so that no counted step pays for the profiler.
PROFILED = range(1, 3)
_NCCL_KERNELS = ("ncclDevKernel", "ncclKernel")


def deepspeed_configuration(setup: TrainingSetup) -> dict[str, Any] | None:
    """What ``Trainer`` hands to DeepSpeed; None where nothing is divided."""
    if setup.zero_stage is None:
        return None
    # "auto" is what transformers' documentation recommends: buckets of the size of one layer's matrix.
    sizes = ("reduce_bucket_size", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold")
    return {
        "zero_optimization": {"stage": setup.zero_stage, **dict.fromkeys(sizes, "auto")},
        "zero_allow_untested_optimizer": True,
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "steps_per_print": 10**9,
    }


@contextlib.contextmanager
def whole_weights(model: Any, setup: TrainingSetup) -> Iterator[None]:
    """Context in which every process sees all of the weights, also where they are divided."""
    if setup.zero_stage != 3:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        yield


class Census:
    """Bytes of parameters, gradients and optimiser state that this process holds, looked at around optimiser steps.

    Gradients are also counted whenever one is made, in the profiled steps: the most that lie there at one moment.
    Copies of the weights that an optimiser keeps for itself (DeepSpeed's 32-bit partitions) count as its state, as in
    the K of ZeRO's 2 + 2 + K bytes.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.parameters = self.gradients = self.state = 0
        self.hooks: list[Any] = []

    def watch(self, optimizer: Any) -> None:
        """Look around every step of ``optimizer``."""
        for part in getattr(optimizer, "inner", [optimizer]):
            part.register_step_pre_hook(self._before)
            part.register_step_post_hook(self._after)

    def begin(self, step: int) -> None:
        """A step begins; ``step`` counts from 0."""
        if step in PROFILED:
            weights = [one for one in self.model.parameters() if one.requires_grad]
            self.hooks = [one.register_post_accumulate_grad_hook(self._made) for one in weights]

    def end(self) -> None:
        """The step has ended."""
        for hook in self.hooks:
            hook.remove()
        self.hooks = []

    def metrics(self) -> dict[str, float]:
        """The largest bytes that were seen, by metric."""
        return {
            "rank_parameter_bytes": self.parameters, "rank_gradient_bytes": self.gradients,
            "rank_optimizer_bytes": self.state,
        }  # fmt: skip

    def _made(self, _: Any) -> None:
        alive = [one.grad for one in self.model.parameters() if one.grad is not None]
        self.gradients = max(self.gradients, _bytes(alive))

    def _before(self, optimizer: Any, *_: Any) -> None:
        weights = list(self.model.parameters())
        self.parameters = max(self.parameters, _bytes([getattr(one, "ds_tensor", one) for one in weights]))
        every = [*weights, *(one for group in optimizer.param_groups for one in group["params"])]
        self.gradients = max(self.gradients, _bytes([one.grad for one in every if one.grad is not None]))

    def _after(self, optimizer: Any, *_: Any) -> None:
        own = {id(one) for one in self.model.parameters()}
        copies = [one for group in optimizer.param_groups for one in group["params"] if id(one) not in own]
        state = [value for kept in optimizer.state.values() for value in kept.values() if hasattr(value, "numel")]
        self.state = max(self.state, _bytes([*copies, *state]))


class Communication:
    """Seconds per step that collectives take, as their backend reports them in a few profiled steps of the warm-up.

    Gloo works on the CPU in its own events. NCCL's events only put kernels into a queue: what counts is how long these
    run on the GPU, waiting for the other processes included, as with Gloo.
    """

    def __init__(self) -> None:
        self.profile: Any = None
        self.seconds = 0.0
        self.steps = 0

    def begin(self, step: int) -> None:
        """A step begins; ``step`` counts from 0."""
        if step in PROFILED:
            import torch

            kinds = torch.profiler.ProfilerActivity
            activities = [kinds.CPU, kinds.CUDA] if torch.cuda.is_initialized() else [kinds.CPU]
            self.profile = torch.profiler.profile(activities=activities)
            self.profile.start()

    def end(self) -> None:
        """The step has ended."""
        if self.profile is None:
            return
        self.profile.stop()
        self.seconds += sum(_collective_microseconds(one) for one in self.profile.key_averages()) / 1e6
        self.steps += 1
        self.profile = None

    def per_step(self) -> float | None:
        """The mean over the profiled steps; None where none was."""
        return self.seconds / self.steps if self.steps else None


def _collective_microseconds(event: Any) -> float:
    """What a profiled event tells of a collective's own time; 0 of anything else."""
    if event.key.startswith("gloo:"):
        return float(event.cpu_time_total)
    return float(event.self_device_time_total) if event.key.startswith(_NCCL_KERNELS) else 0.0


def _bytes(tensors: list[Any]) -> int:
    """Bytes of distinct tensors: views of one place count once."""
    return sum({(one.data_ptr(), one.numel()): one.numel() * one.element_size() for one in tensors}.values())
