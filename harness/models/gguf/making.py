"""What the technique ``gguf`` does: convert, weigh, quantise, and say what is really in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.contract import Checkpoint, Job
from harness.models.gguf.converting import tensor_name, write_model
from harness.models.gguf.quantizing import quantize_file, read_tensors
from harness.models.gguf.runtime import FILE, threads_of
from harness.models.importance import mean_squares
from harness.models.loading import load_plain, load_tokenizer

if TYPE_CHECKING:
    import numpy


EMBEDDINGS, OUTPUT = "token_embd.weight", "output.weight"


def make_file(job: Job, kind: str, windows: Sequence[Sequence[int]] | None) -> Checkpoint:
    """Write the job's model (adapters merged first) as a GGUF file of a type, weighted by what ``windows`` put in.

    ``StepError`` for a model that is quantised already or whose architecture is not converted.
    """
    with job.meter.span("load"):
        model, tokenizer = load_plain(job.checkpoint, job.hardware, "gguf"), load_tokenizer(job.checkpoint)
    file = job.part("model") / FILE
    plain = file.with_suffix(".f32")
    with job.meter.span("convert"):
        job.meter.observe("vocabulary", write_model(model, tokenizer, plain))
    importance = None
    if windows is not None:
        with job.meter.span("calibrate"):
            importance = _importance(model, windows)
    with job.meter.span("compress"):
        quantize_file(plain, file, kind, threads_of(job), importance)
    plain.unlink()
    _say_what_is_there(job, kind, file)
    return job.checkpoint.with_model(file.parent)


def _importance(model: Any, windows: Sequence[Sequence[int]]) -> Mapping[str, numpy.ndarray]:
    """Mean squares under the names of the file's tensors."""
    kind, layers = model.config.model_type, model.config.num_hidden_layers
    found = {tensor_name(name, kind, layers): values for name, values in mean_squares(model, windows).items()}
    if model.config.tie_word_embeddings:  # the file has one matrix for both, by the embeddings' name
        found[EMBEDDINGS] = found.pop(OUTPUT)
    return found


def _say_what_is_there(job: Job, asked: str, file: Any) -> None:
    """Record the types that were found; where llama.cpp fell back to others, that is a flag and a name of its own."""
    tensors = read_tensors(file)
    job.meter.observe("tensor_types", dict(sorted(tensors.matrices.items())))
    job.meter.metric("parameters", sum(tensors.elements.values()))
    if others := tensors.fallbacks(asked):
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        count = sum(others.values())
        job.meter.observe("found_as", f"gguf(type={' and '.join(tensors.counts)} for {asked})")
        job.meter.flag(f"not {asked} throughout: llama.cpp put {count} of {len(tensors.matrices)} matrices in {found}")
