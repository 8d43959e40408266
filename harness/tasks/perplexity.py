"""``perplexity``: how well held-out tokens are predicted, and how far the predictions moved from a reference.

One definition for every backend: the same windows, n-1 targets each (a beginning-of-text token stands in front where
the tokenizer itself puts one), natural logarithms; with ``view=instructions`` the answer's tokens alone count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.contract import Job, Scorer, Task, param

if TYPE_CHECKING:
    import numpy

    from harness.training.examples import Scored

REFERENCE_BYTES = 512 * 2**20
REFERENCE_FILE = "log_probabilities.npy"
GROUP = 16


class Perplexity(Task):
    """Loss, perplexity and bits per byte; against the reference KL divergence per token and top-1 agreement."""

    summary = "loss on held-out text or answers; KL divergence from the uncompressed reference"
    requires = ("torch", "transformers")
    compares_with_reference = True
    metrics = (
        "loss", "perplexity", "bits_per_byte",
        "kl_divergence", "kl_divergence_median", "kl_divergence_p99", "kl_divergence_max", "top1_agreement",
    )  # fmt: skip

    @dataclass(frozen=True)
    class Params:
        view: str = param("text", "what is scored: windows of text, or answers", choices=("text", "instructions"))
        windows: int = param(64, "number of windows or answers", low=1)
        length: int = param(256, "tokens of a window; longer instructions are left out", low=2)
        split: str = param("test", "split that is scored", choices=("validation", "test"))

    def view(self) -> str | None:
        """The view that is scored."""
        return str(self.params.view)

    def score(self, scorer: Scorer, job: Job) -> None:
        """Score every window, compare with the reference where there is one, keep per-window results."""
        with job.meter.span("data"):
            held_out = self._held_out(scorer, job)
        positions = sum(sum(item.counted) for item in held_out)
        kept = _kept(held_out, scorer.vocabulary_size)
        against = _Reference(job, sum(sum(item.counted) for item in held_out[:kept]), scorer.vocabulary_size)
        nll: list[float] = []
        for start in range(0, len(held_out), GROUP):
            nll += _scored(scorer, held_out[start : start + GROUP], against, max(0, kept - start), job)
            job.meter.progress()
        columns: dict[str, Any] = {
            "window": list(range(len(held_out))),
            "document": [item.document for item in held_out],
            "nll": nll,
            "tokens": [sum(item.counted) for item in held_out],
            "bytes": [item.bytes for item in held_out],
        }
        _report(job, sum(nll), positions, sum(columns["bytes"]))
        with job.meter.span("compare"):
            columns.update(against.report(len(held_out)))
        job.meter.items("perplexity", columns)

    def _held_out(self, scorer: Any, job: Job) -> list[Scored]:
        from harness.errors import DataError
        from harness.models.chat import tell_rendering
        from harness.training.examples import answers_to_score, text_to_score

        params, lengths = self.params, scorer.token_bytes()
        length = min(params.length, scorer.max_length)
        if params.view == "text":
            found = text_to_score(
                job.data, params.split, scorer.tokenizer, lengths, length, params.windows, scorer.bos_id
            )
        else:
            tell_rendering(job.meter, items := job.data.view("instructions", params.split), scorer.tokenizer)
            found = answers_to_score(items, scorer.tokenizer, lengths, length, params.windows)
        if not found:
            raise DataError(f"data set '{job.data.name}' has nothing to score in view '{params.view}'")
        job.meter.observe(
            "windows", {"count": len(found), "length": length, "bos": scorer.bos_id, "split": params.split}
        )
        return found


class _Reference:
    """Writes this model's log-probabilities as the reference, or compares them with the reference's.

    Plain reads and writes, a window at a time: a mapped file would count as memory of the model that is scored.
    ``needed`` says whether it does either.
    """

    def __init__(self, job: Job, positions: int, vocabulary: int) -> None:
        import numpy

        self.job = job
        self.kl: list[numpy.ndarray] = []
        self.agree: list[numpy.ndarray] = []
        self.written = self.read = None
        shape = (positions, vocabulary)
        if job.artefacts is not None:
            job.artefacts.mkdir(parents=True, exist_ok=True)
            self.written = (job.artefacts / REFERENCE_FILE).open("wb")
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            numpy.lib.format.write_array_header_1_0(self.written, header)
        if job.reference is not None:
            self.read = (job.reference / REFERENCE_FILE).open("rb")
            numpy.lib.format.read_magic(self.read)
            found = numpy.lib.format.read_array_header_1_0(self.read)[0]
            if found != shape:
                job.meter.flag(f"the reference scored {found}, this model {shape}: no KL divergence")
                self.read.close()
                self.read = None
        self.needed = self.written is not None or self.read is not None

    def take(self, log_probs: numpy.ndarray) -> None:
        """Take the next window: float32 [positions, vocabulary]."""
        import numpy

        if self.written is not None:
            log_probs.astype("<f4", copy=False).tofile(self.written)
        if self.read is not None:
            reference = numpy.fromfile(self.read, dtype="<f4", count=log_probs.size).reshape(log_probs.shape)
            reference = reference.astype("float64")
            self.kl.append((numpy.exp(reference) * (reference - log_probs)).sum(axis=1))
            self.agree.append(reference.argmax(axis=1) == log_probs.argmax(axis=1))

    def report(self, windows: int) -> dict[str, list[float | None]]:
        """Report the divergence over all positions; return per-window columns (null past the kept windows)."""
        import numpy

        for file in (self.written, self.read):
            if file is not None:
                file.close()
        if not self.kl:
            return {}
        kl, meter = numpy.concatenate(self.kl), self.job.meter
        meter.metric("kl_divergence", float(kl.mean()))
        meter.metric("kl_divergence_median", float(numpy.median(kl)))
        meter.metric("kl_divergence_p99", float(numpy.percentile(kl, 99)))
        meter.metric("kl_divergence_max", float(kl.max()))
        meter.metric("top1_agreement", float(numpy.concatenate(self.agree).mean()))
        meter.observe("kl_positions", len(kl))
        missing: list[float | None] = [None] * (windows - len(self.kl))
        return {
            "kl": [float(value.mean()) for value in self.kl] + missing,
            "agree": [float(value.mean()) for value in self.agree] + missing,
        }


def _scored(scorer: Scorer, group: list[Scored], against: _Reference, kept: int, job: Job) -> list[float]:
    """Negative log-likelihoods of a group of windows, the first ``kept`` of which are compared with the reference.

    Full distributions are made only where somebody needs them.
    """
    sequences = [item.ids for item in group]
    if not against.needed:
        with job.meter.span("score"):
            found = scorer.target_log_probabilities(sequences)
        pairs = zip(group, found, strict=True)
        return [-float(values[item.counted].sum(dtype="float64")) for item, values in pairs]
    with job.meter.span("score"):
        log_probs = scorer.log_probabilities(sequences)
        nll = [_window_nll(item, values) for item, values in zip(group, log_probs, strict=True)]
    with job.meter.span("compare"):
        for item, values in zip(group[:kept], log_probs[:kept], strict=True):
            against.take(values[item.counted])
    return nll


def _kept(held_out: list[Scored], vocabulary: int) -> int:
    """Number of leading windows whose full distributions fit the limit on the reference's file."""
    size = 0
    for index, item in enumerate(held_out):
        size += 4 * vocabulary * sum(item.counted)
        if size > REFERENCE_BYTES:
            return index
    return len(held_out)


def _window_nll(item: Scored, log_probs: numpy.ndarray) -> float:
    import numpy

    targets = numpy.asarray(item.ids[1:])
    picked = log_probs[numpy.arange(len(targets)), targets]
    return -float(picked[item.counted].sum(dtype="float64"))


def _report(job: Job, nll: float, tokens: int, size: int) -> None:
    loss = nll / tokens
    job.meter.metric("loss", loss)
    job.meter.metric("perplexity", math.exp(loss))
    job.meter.metric("bits_per_byte", nll / math.log(2) / size)

