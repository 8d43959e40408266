"""Which of torch's attention kernels a training may use, and what a GPU's ask of a batch that a CPU's do not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from harness.contract import Job, TrainingSetup
from harness.errors import StepError


@contextlib.contextmanager
def attention_kernel(
    setup: TrainingSetup, device: str = "cpu", kind: str = "causal", models: Sequence[Any] = ()
) -> Iterator[None]:
    """Context in which torch may use the kernel of the set-up alone: where it cannot run, torch raises.

    ``models`` are those that read the training's batches; ``kind`` of the first says whether padding can be left to
    the labels.
    """
    if setup.attention_kernel is None:
        yield
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with contextlib.ExitStack() as stack:
        if setup.attention_kernel == "FLASH_ATTENTION" and device == "cuda":
            stack.enter_context(without_masks(models, kind))
        if setup.attention_kernel == "EFFICIENT_ATTENTION":
            stack.enter_context(repeated_heads())
        stack.enter_context(sdpa_kernel(getattr(SDPBackend, setup.attention_kernel)))
        yield


def any_kernel(setup: TrainingSetup) -> contextlib.AbstractContextManager[Any]:
    """Context within ``attention_kernel`` in which torch chooses among all of its kernels again."""
    if setup.attention_kernel is None:
        return contextlib.nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    every = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    chosen: contextlib.AbstractContextManager[Any] = sdpa_kernel(every)
    return chosen


def leave_out_cudnn(job: Job, setup: TrainingSetup) -> None:
    """Keep torch from cuDNN's attention where no kernel is asked for, and say so in the record.

    On the newest GPUs torch prefers it, and it makes a plan for every new shape of a batch: tens of milliseconds within
    the step that meets one first.
    """
    if job.hardware.device != "cuda" or setup.attention_kernel is not None:
        return
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)
    job.meter.observe("cudnn_attention", False)


@contextlib.contextmanager
def without_masks(models: Sequence[Any], kind: str = "causal") -> Iterator[None]:
    """Context in which ``models`` read padded batches without their mask, which a GPU's flash kernel does not take.

    In a decoder nothing looks to its right, so that padding there changes no state that carries a loss. Batches of
    which that is not so end the step. Where torch may choose another kernel, as for a validation, masks are left alone.
    """
    handles = [one.register_forward_pre_hook(_unmasked(kind), with_kwargs=True) for one in models if one is not None]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _unmasked(kind: str) -> Any:
    import torch

    def hook(module: Any, args: Any, given: dict[str, Any]) -> Any:
        mask = given.get("attention_mask")
        if mask is None or torch.backends.cuda.math_sdp_enabled():
            return None
        if kind != "causal" and not bool(mask.all()):
            raise StepError(
                f"kernel=flash takes no mask on a GPU, which a padded batch of a {kind} model needs: "
                "use kernel=memory_efficient"
            )
        if kind != "causal":
            return None  # of a mask that hides nothing transformers makes none
        if bool((mask[:, 1:] > mask[:, :-1]).any()):
            raise StepError("kernel=flash takes no mask on a GPU, which padding on the left needs: use another kernel")
        return args, {**given, "attention_mask": None}

    return hook


@contextlib.contextmanager
def repeated_heads() -> Iterator[None]:
    """Context in which transformers repeats keys and values that several queries share.

    Elsewhere it leaves that to the kernel, which the memory-efficient one refuses.
    """
    from transformers.integrations import sdpa_attention

    before = sdpa_attention.use_gqa_in_sdpa
    sdpa_attention.use_gqa_in_sdpa = lambda *given: False
    try:
        yield
    finally:
        sdpa_attention.use_gqa_in_sdpa = before
