"""Probes: a stage's training for a few steps in a forked process under a memory limit. Used by the worker.

The worker has imported the libraries and computed nothing (it has not even opened the model), so a fork of it starts at
once and begins where a step's own process does. How a probe ends is read from a file that it writes, or from the signal
that ended it.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import resource
import select
import shutil
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.contract import Budget, Dataset, Probe
from harness.errors import BeyondContext, InvalidMeasurement
from harness.run import memory
from harness.run.failures import status_of
from harness.run.meter import Meter
from harness.run.pages import map_again, resident_file_ranges
from harness.run.processes import PR_SET_PDEATHSIG, set_process_option

# Bytes of text per token that is asked for: more than any tokenizer cuts, so that an excerpt is long enough.
BYTES_PER_TOKEN = 16
# The field of each view that a sequence ends with, or is cut in.
STRETCHED = {
    "instructions": "answer", "labels": "text", "choices": "prompt", "text_to_text": "target", "pairs": "chosen",
}  # fmt: skip
# What comes before it, of the same sequence.
PROMPTS = {"instructions": "prompt", "text_to_text": "source", "pairs": "prompt"}
# What a probe tells of what it measured, beside its peak.
TOLD = ("training_memory_bytes", "predicted_memory_bytes")
# A few steps take seconds; where a library waits for ever for a thread that it could not make, nothing more comes.
LONGEST_SECONDS = 120


class Excerpt:
    """A little of a data set, in which every sequence can be as long as the budget's: no probe reads a whole corpus.

    Of running text the first documents that hold enough; of any other view as many items as the budget's steps take,
    the texts of ``STRETCHED`` fields made of several items' so that no sequence ends before its length. Where these
    come behind a prompt it is the shortest, since an item whose prompt leaves them no room would be left out.
    """

    def __init__(self, whole: Dataset, budget: Budget) -> None:
        self.whole = whole
        self.name, self.fingerprint = whole.name, whole.fingerprint
        self.items = budget.batch_size * (budget.steps or 1)
        self.sequence_bytes = BYTES_PER_TOKEN * budget.sequence_length

    def views(self) -> tuple[str, ...]:
        """The views of the whole."""
        return self.whole.views()

    def view(self, name: str, split: str) -> list[Any]:
        """The excerpt of one view; one long item of the splits that nothing is trained on."""
        found = self.whole.view(name, split)
        count = self.items if split == "train" else 1
        if name == "text":
            return list(_as_long_as(found, count * self.sequence_bytes))
        field = STRETCHED[name]
        long = "\n".join(_as_long_as([str(item[field]) for item in found], self.sequence_bytes))
        return [{**item, field: long} for item in _with_room(name, found, count)]


def _with_room(view: str, found: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Items of a view to be stretched: ``count``, and of pairs as many of each half, since a stage may read either."""
    if view not in PROMPTS:
        return [found[index % len(found)] for index in range(count)]
    by_prompt = sorted(found, key=lambda item: len(str(item[PROMPTS[view]])))
    if view != "pairs":
        return by_prompt[:1] * count
    from harness.training.preferences import HALVES, in_half

    sound = [item for item in by_prompt if item["prompt"] and str(item["rejected"]).strip()]
    of_halves = (next((item for item in sound if in_half(item, half)), None) for half in HALVES[:2])
    return [item for item in of_halves if item is not None for _ in range(count)]


def _as_long_as(texts: Sequence[str], size: int) -> Iterator[str]:
    """Texts from the first on, over and over, until they hold ``size`` characters."""
    for text in itertools.cycle(texts):
        yield text
        size -= max(1, len(text))
        if size <= 0:
            return


def libraries() -> None:
    """Import what a training would: a limit is on what it takes above its libraries, in whatever way it was started."""
    from harness.run.server import PRELOAD, gpu_unopened

    with gpu_unopened():
        for name in PRELOAD:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def probe(
    job: Mapping[str, Any], folder: Path, budget: Budget, memory_bytes: int | None, *, give_back: bool = False
) -> Probe:
    """Train the stage of ``job`` in a process that may take ``memory_bytes`` more than it has; say how that ended.

    With ``give_back`` its heap returns freed memory at once, so that its peak is that of what is in use.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = resident_file_ranges()
    child = os.fork()
    if child == 0:
        map_again(pages)  # or the libraries' pages would count as the training's when it touches them
        if give_back:
            memory.keep_no_freed_memory()
        os._exit(_train(job, folder, budget, memory_bytes))
    code = _wait(child)
    try:
        told: Mapping[str, Any] = json.loads((folder / "told.json").read_text())
        return Probe(**told)
    except (OSError, ValueError):
        return _silent(code)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(child: int) -> int | None:
    """The exit code of the child, negative for a signal; None where it had to be killed for taking too long."""
    handle = os.pidfd_open(child)
    try:
        ended = bool(select.select([handle], [], [], LONGEST_SECONDS)[0])
    finally:
        os.close(handle)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if ended else None


def _silent(code: int | None) -> Probe:
    if code is None:
        return Probe("timeout", f"had not ended after {LONGEST_SECONDS} s", 0)
    if code < 0:
        return Probe("crashed", f"killed by {signal.Signals(-code).name}", 0)
    return Probe("crashed", f"ended with exit status {code} and said nothing", 0)


def _train(job: Mapping[str, Any], folder: Path, budget: Budget, memory_bytes: int | None) -> int:
    """The child: limit, train, tell. Returns its exit status; nothing is raised into the worker's own code."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)
        meter, status, reason, more = Meter(alone=False), "done", None, dict[str, float]()
        if memory_bytes is not None:
            _limit(memory_bytes, job["hardware"]["device"])
        try:
            _train_within({**job, "operation": "train", "task": None}, folder, budget, meter)
        except BeyondContext as error:
            status, reason, more = "beyond_context", str(error), {"context": error.context}
        except BaseException as error:
            traceback.print_exc()
            status, reason = status_of(error)
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        told = {"status": status, "reason": reason, **_measured(meter, more)}
        (folder / "told.json").write_text(json.dumps(told))
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _train_within(job: Mapping[str, Any], folder: Path, budget: Budget, meter: Meter) -> None:
    from harness.run.operation import prepared

    with prepared(job, meter, folder) as (adapter, _, request):
        request.budget, request.data = budget, Excerpt(request.data, budget)
        adapter.train(request)
    _check_full(meter, budget)


def _limit(memory_bytes: int, device: str) -> None:
    """On the CPU private memory may grow by so much (``RLIMIT_DATA``); on a GPU the allocator may take so much."""
    if device == "cuda":
        import torch

        # A cap above what the card has is no cap: the card is.
        share = min(1.0, memory_bytes / torch.cuda.get_device_properties(0).total_memory)
        torch.cuda.set_per_process_memory_fraction(share)
        return
    now = memory.status_bytes("VmData")
    resource.setrlimit(resource.RLIMIT_DATA, (now + memory_bytes, resource.RLIM_INFINITY))


def _measured(meter: Meter, more: Mapping[str, float]) -> dict[str, Any]:
    """What a probe tells: its peak is that over all spans, on a GPU the device's, else above the beginning."""
    found = meter.finish()
    metrics = found["metrics"]
    peak = int(metrics.get("cuda_peak_allocated_bytes") or metrics["peak_memory_rise_bytes"])
    kept = {name: metrics[name] for name in TOLD if name in metrics} | dict(more)
    observed = {name: value for name, value in found["observed"].items() if name == "predicted_memory"}
    return {"peak_bytes": peak, "metrics": kept, "observed": observed}


def _check_full(meter: Meter, budget: Budget) -> None:
    """Every step must have read all the tokens that were asked for; fewer would fit more easily."""
    wanted = budget.batch_size * budget.sequence_length
    if any(tokens < wanted for tokens in meter.steps.tokens):
        raise InvalidMeasurement(f"steps read {min(meter.steps.tokens)} tokens, not the {wanted} that were asked for")
