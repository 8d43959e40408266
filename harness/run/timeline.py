"""The flat timeline behind the meter: at every moment one span is current, an inner span pauses the outer one.

So the self times of the spans sum to the wall time, or the difference is time that nobody explains (PROTOCOL, time 1).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import InvalidMeasurement
from harness.run import memory

# Spans that stand inside or before the work without being it: what they leave on the heap is given back at their end.
BESIDE_THE_WORK = frozenset({"data", "evaluate", "compare"})
UNEXPLAINED_SHARE = 0.02
UNEXPLAINED_SECONDS = 0.05


@dataclass
class Span:
    """Everything under one name: self seconds, and the peak of memory while it was open (its inner spans included).

    ``own_peak_bytes`` and ``own_cuda`` are the peaks while the span was the current one, so that preparing data or an
    evaluation inside a training span is not taken for memory of the training.
    """

    name: str
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    own_peak_bytes: int = 0
    own_cuda: dict[str, int] | None = None
    cuda: dict[str, int] | None = None

    def raise_peaks(self, peak: int, cuda: dict[str, int] | None) -> None:
        """Take over larger peaks (of the allocator's retries too: a counter of the process, so its largest reading)."""
        self.peak_memory_bytes = max(self.peak_memory_bytes, peak)
        self.cuda = _larger(self.cuda, cuda)

    def raise_own_peaks(self, peak: int, cuda: dict[str, int] | None) -> None:
        """The same of the time in which this span was the current one."""
        self.own_peak_bytes = max(self.own_peak_bytes, peak)
        self.own_cuda = _larger(self.own_cuda, cuda)

    def as_record(self) -> dict[str, Any]:
        """The span as the record holds it."""
        peak = self.peak_memory_bytes
        return {"name": self.name, "seconds": self.seconds, "peak_memory_bytes": peak, "cuda": self.cuda}


def _larger(old: dict[str, int] | None, new: dict[str, int] | None) -> dict[str, int] | None:
    """Of each value the larger one."""
    if old is None or new is None:
        return new if old is None else old
    return {name: max(old[name], value) for name, value in new.items()}


class Timeline:
    """Spans by name, in the order in which they were first opened.

    ``started`` is a moment before the timeline itself: what lies between the two is the span ``start``. ``gpu`` is the
    one that is looked at, where it is not all of them.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, started: float | None = None, gpu: int | None = None
    ) -> None:
        self._clock, self._gpu = clock, gpu
        self.started = clock() if started is None else started
        self.spans: dict[str, Span] = {}
        self._open: list[Span] = []
        self._mark = self._end = clock()
        if started is not None:
            self.spans["start"] = Span("start", self._mark - started, memory.peak_bytes())
        self.can_reset = memory.reset_peak()

    def enter(self, name: str) -> None:
        """Open a span; the one that was current is paused."""
        self._boundary()
        self._open.append(self.spans.setdefault(name, Span(name)))

    def leave(self, name: str) -> None:
        """Close the current span, which must be ``name``; the one around it goes on."""
        self._boundary()
        if not self._open or self._open[-1].name != name:
            raise InvalidMeasurement(f"span '{name}' was closed while another one was current")
        self._open.pop()
        self._end = self._mark
        if name in BESIDE_THE_WORK:
            memory.return_free_memory()
            self.can_reset = memory.reset_peak() and self.can_reset

    def divide(self, name: str, spans: Sequence[Mapping[str, Any]]) -> None:
        """Give a closed span's seconds to spans that were measured inside it, elsewhere; the rest stays its own."""
        whole = self.spans[name]
        for told in spans:
            span = self.spans.setdefault(told["name"], Span(told["name"]))
            span.seconds += told["seconds"]
            span.raise_peaks(told["peak_memory_bytes"], told["cuda"])
            whole.seconds -= told["seconds"]
        if whole.seconds < 0:
            raise InvalidMeasurement(f"what was measured within '{name}' takes {-whole.seconds:.3f} s more than that")

    def wall_seconds(self) -> float:
        """From the first instruction to the end of the last span."""
        return self._end - self.started

    def unexplained(self) -> str | None:
        """Say how much of the wall time no span explains, or None where it is within the allowance."""
        wall = self.wall_seconds()
        missing = abs(wall - sum(span.seconds for span in self.spans.values()))
        if missing > UNEXPLAINED_SECONDS and missing > UNEXPLAINED_SHARE * wall:
            return f"spans do not sum to the wall time: {missing:.3f} s of {wall:.3f} s are unexplained"
        return None

    def close_all(self) -> None:
        """Close what an exception or a signal left open."""
        while self._open:
            self.leave(self._open[-1].name)

    def close_within(self, name: str) -> None:
        """Close what an error left open inside the innermost span ``name``."""
        while self.is_within(frozenset({name})) and self.current() != name:
            self.leave(self._open[-1].name)

    def inner_seconds(self, name: str) -> float:
        """Self seconds of all spans but ``name`` so far, the running one included (what a step's clock leaves out)."""
        running = self._clock() - self._mark
        total = sum(span.seconds for span in self.spans.values() if span.name != name)
        return total + (running if self._open and self._open[-1].name != name else 0.0)

    def current(self) -> str | None:
        """Name of the current span, or None outside every span."""
        return self._open[-1].name if self._open else None

    def is_within(self, names: frozenset[str]) -> bool:
        """Whether a span of one of these names is open."""
        return any(span.name in names for span in self._open)

    def now(self) -> float:
        """The timeline's own monotonic clock, in seconds."""
        return self._clock()

    def _boundary(self) -> None:
        now = self._clock()
        if self._open:
            self._open[-1].seconds += now - self._mark
        self._mark = now
        if self._open:
            peak, cuda = memory.peak_bytes() + memory.children_bytes(), memory.cuda_peaks(self._gpu)
            self._open[-1].raise_own_peaks(peak, cuda)
            for span in self._open:
                span.raise_peaks(peak, cuda)
        self.can_reset = memory.reset_peak() and self.can_reset
