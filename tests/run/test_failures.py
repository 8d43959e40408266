"""What an exception becomes in a record."""

from __future__ import annotations

import pytest

from harness.errors import DataError, DoesNotFit, InvalidMeasurement, NotInstalled
from harness.run.failures import Interrupted, bytes_asked, status_of


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("x"), "failed"),
        (DataError("file 'x' has no text"), "failed"),
        (InvalidMeasurement("loss is nan"), "invalid"),
        (NotInstalled("package 'trl' is not installed (pip install trl)"), "skipped"),
        (MemoryError(), "out_of_memory"),
        (DoesNotFit("80 GiB"), "out_of_memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), "out_of_memory"),
        (OSError(12, "Cannot allocate memory"), "out_of_memory"),
        (OSError(28, "No space left on device"), "failed"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), "out_of_memory"),
        (RuntimeError("CUDA driver error: out of memory"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out_of_memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out_of_memory"),
        (RuntimeError("Triton Error [CUDA]: out of memory"), "out_of_memory"),
        (RuntimeError("CUDA error: device-side assert triggered"), "failed"),
        (RuntimeError("shapes do not match"), "failed"),
        (Interrupted("SIGTERM"), "interrupted"),
    ],
)
def test_each_error_has_its_status(error: BaseException, status: str) -> None:
    assert status_of(error)[0] == status


def test_the_bytes_asked_for_are_read_from_the_message() -> None:
    assert bytes_asked("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has") == 3 * 2**29
    assert bytes_asked("you tried to allocate 4096 bytes. Error code 12") == 4096
    assert bytes_asked("no number here") is None


def test_a_reason_is_one_short_line() -> None:
    reason = status_of(ValueError("first\n  second " + "x" * 1000))[1]
    assert reason.startswith("ValueError: first second")
    assert "\n" not in reason
    assert len(reason) <= 300
