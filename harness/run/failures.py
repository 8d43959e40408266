"""What an exception means for a record: its status and one line of reason. Used by the worker alone."""

from __future__ import annotations

import errno
import os
import re

from harness.errors import DoesNotFit, HarnessError, InvalidMeasurement, NotInstalled
from harness.redaction import redacted_text, values_of

# What a reason begins with where a disk was full; the launcher ends the sweep then.
NO_SPACE = "no space left on the disk"
NO_SPACE_STATUS = 74  # exit status of a worker that could not write its record for that (EX_IOERR)
_SPACE_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")
_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_ASKED = re.compile(r"tried? to allocate (?P<amount>[\d.]+)\s*(?P<unit>bytes|[KMGT]iB)", re.IGNORECASE)
_MEMORY_TEXTS = (
    "DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory",
    # What takes memory of a GPU beside torch's allocator: the runtime itself, its libraries, Triton's kernels.
    "CUDA error: out of memory", "CUDA driver error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED", "Triton Error [CUDA]: out of memory",
)  # fmt: skip


class Interrupted(BaseException):
    """Raised by the worker's signal handler; no technique's ``except Exception`` swallows it."""


def status_of(error: BaseException) -> tuple[str, str]:
    """Return the record's status and reason for what an operation raised."""
    if isinstance(error, Interrupted):
        return "interrupted", str(error) or "interrupted"
    if is_out_of_memory(error):
        return "out_of_memory", _memory_reason(error)
    if is_out_of_space(error):
        return "failed", one_line(f"{NO_SPACE}: {error}")
    if isinstance(error, NotInstalled):
        return "skipped", one_line(str(error))
    if isinstance(error, InvalidMeasurement):
        return "invalid", one_line(str(error))
    if isinstance(error, HarnessError):
        return "failed", one_line(str(error))
    return "failed", one_line(f"{type(error).__name__}: {error}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is memory running out, on the CPU or on a GPU (torch's own class is known by its name)."""
    if isinstance(error, MemoryError | DoesNotFit) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_TEXTS)


def is_out_of_space(error: BaseException) -> bool:
    """Whether a file could not be written for want of space; libraries in Rust and C++ say so in words alone."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    return any(text in str(error) for text in _SPACE_TEXTS)


def bytes_asked(text: str) -> int | None:
    """Bytes that an allocator's message says were asked for, or None."""
    match = _ASKED.search(text)
    if match is None:
        return None
    unit = match["unit"]
    return int(float(match["amount"]) * _UNITS["" if unit.lower() == "bytes" else unit])


def one_line(text: str, limit: int = 300) -> str:
    """The text on one line, secrets masked, cut at ``limit`` characters."""
    line = redacted_text(" ".join(text.split()), values_of(os.environ))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _memory_reason(error: BaseException) -> str:
    asked = bytes_asked(str(error))
    amount = f" ({asked} bytes asked for)" if asked is not None else ""
    return one_line(f"does not fit in memory{amount}: {type(error).__name__}: {error}".rstrip(": "))
