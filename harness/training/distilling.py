"""Learning from a teacher: soft targets at a temperature, hard labels, and the direction of hidden states.

The loss of one batch, summed over its loss-bearing tokens and divided by their number in the whole optimiser step::

    soft   x T^2 x KL(teacher_T || student_T)       Hinton et al. 2015, arXiv:1503.02531; of a masked model over every
                                                    token that is no padding, and divided by their number (DistilBERT)
                                                    (of a teacher's top k alone: its softmax over these, the student's
                                                    over the whole vocabulary)
    hard   x cross-entropy with the labels
    cosine x (1 - cos(student's, teacher's last hidden state)), over every token that is no padding (DistilBERT)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Job, TrainingSetup
from harness.errors import StepError
from harness.models.inspect import describe_model, logical_size
from harness.models.loading import autocast
from harness.models.scoring import IGNORED
from harness.training.change import Change, save_model
from harness.training.students import StudentShape, make_student
from harness.training.teacher_memory import TeacherMemory


@dataclass(frozen=True)
class Weights:
    """What each part of the loss counts for; a teacher that nothing is learnt from is never asked."""

    soft: float
    hard: float
    cosine: float = 0.0
    temperature: float = 1.0

    @classmethod
    def of(cls, params: Any) -> Weights:
        """The weights that a recipe's parameters give."""
        return cls(params.soft_weight, params.hard_weight, params.cosine_weight, params.temperature)

    @property
    def asks_teacher(self) -> bool:
        """Whether any part needs the teacher's forward pass."""
        return bool(self.soft or self.cosine)


def learn_from(
    job: Job, shape: StudentShape, weights: Weights, kind: str, memory: TeacherMemory | None = None
) -> Change:
    """The change that makes a student of the model that is given, which becomes its teacher.

    With a ``memory`` it is asked once for each sequence.
    """
    lesson = Lesson(job, weights, shifted=kind == "causal", memory=memory)

    def prepare(model: Any, setup: TrainingSetup) -> Any:
        teacher = _frozen(model)
        student, chosen = make_student(teacher, shape, kind)
        lesson.begin(teacher, setup)
        own = sum(logical_size(parameter) for parameter in student.parameters())
        whole = sum(logical_size(parameter) for parameter in teacher.parameters())
        job.meter.metric("teacher_parameters", whole)
        job.meter.observe("student", {"begins_with_layers": chosen, "parameters": own, "teacher_parameters": whole})
        return student

    return Change(prepare, save_model, loss=lesson.loss, finish=lesson.finish)


class Lesson:
    """The teacher of one training, and the loss by which its student learns."""

    def __init__(self, job: Job, weights: Weights, shifted: bool, memory: TeacherMemory | None = None) -> None:
        self.job, self.weights, self.memory = job, weights, memory
        self.teacher: Any = None
        self.precision, self.parts, self.shifted = "fp32", 1, shifted
        self.seconds = 0.0

    def begin(self, teacher: Any, setup: TrainingSetup) -> None:
        """Take the teacher; one that is never asked is let go."""
        self.teacher = teacher if self.weights.asks_teacher else None
        self.precision = setup.precision
        self.parts = setup.batch_size // setup.micro_batch_size

    def loss(self, student: Any, inputs: Mapping[str, Any], tokens: Any) -> Any:
        """The loss of a micro-batch of a step with ``tokens`` loss-bearing tokens in all."""
        labels = inputs["labels"]
        given = {name: value for name, value in inputs.items() if name not in ("labels", "num_items_in_batch")}
        hidden = bool(self.weights.cosine)
        own = student(**given, output_hidden_states=hidden)
        target = self._asked(given, hidden)
        mask = given.get("attention_mask")
        return distillation_loss(own, target, labels, mask, self.weights, tokens, self.shifted, self.parts)

    def finish(self) -> None:
        """Record what the teacher's forward passes took."""
        # On a GPU the clock would see the launch alone.
        if self.job.hardware.device == "cpu":
            self.job.meter.metric("teacher_seconds", self.seconds)
        if self.memory is not None:
            self.job.meter.metric("teacher_cache_bytes", self.memory.bytes)
            self.job.meter.observe("teacher_cache", self.memory.facts())
            self.memory.close()
        self.teacher = None

    def _asked(self, given: Mapping[str, Any], hidden: bool) -> Any:
        if self.teacher is None:
            return None
        began = time.perf_counter()
        answer = self.memory.answer(given, self._forward) if self.memory is not None else self._forward(given, hidden)
        self.seconds += time.perf_counter() - began
        return answer

    def _forward(self, given: Mapping[str, Any], hidden: bool = False) -> Any:
        import torch

        with torch.no_grad(), autocast(self.precision, self.job.hardware.device):
            return self.teacher(**given, output_hidden_states=hidden)


def distillation_loss(
    student: Any, teacher: Any, labels: Any, mask: Any, weights: Weights, tokens: Any, shifted: bool, parts: int = 1
) -> Any:
    """Scalar loss of outputs with ``logits`` [batch, length, vocabulary] and, for the cosine, ``hidden_states``.

    A teacher with ``tokens`` has the logits of these alone, as ``TeacherMemory`` keeps them.

    ``shifted`` says that a position predicts the next label (causal models), not its own. ``tokens`` are those of the
    whole optimiser step, of which this is one of ``parts`` micro-batches.
    """
    import torch
    from torch.nn.functional import cosine_similarity, cross_entropy, kl_div, log_softmax

    cut = slice(None, -1) if shifted else slice(None)
    targets = labels[:, 1:] if shifted else labels
    counted = targets != IGNORED
    kept = mask.bool() if mask is not None else labels == labels
    total = student.logits.new_zeros((), dtype=torch.float32)
    if weights.hard:
        logits = student.logits[:, cut][counted].float()
        total = total + weights.hard * cross_entropy(logits, targets[counted], reduction="sum") / tokens
    if weights.soft:
        taught, share = (counted, 1 / tokens) if shifted else (kept, 1 / (kept.sum() * parts))
        own, other = (
            log_softmax(one.logits[:, cut][taught].float() / weights.temperature, dim=-1) for one in (student, teacher)
        )
        if (tokens_kept := getattr(teacher, "tokens", None)) is not None:
            own = own.gather(-1, tokens_kept[:, cut][taught])
        distance = kl_div(own, other, reduction="sum", log_target=True)
        total = total + weights.soft * weights.temperature**2 * distance * share
    if weights.cosine:
        own, other = student.hidden_states[-1], teacher.hidden_states[-1]
        if own.shape != other.shape:
            raise StepError("hidden states of different widths have no cosine: give cosine_weight=0")
        away = 1 - cosine_similarity(own[kept].float(), other[kept].float(), dim=-1)
        total = total + weights.cosine * away.mean() / parts
    return total


def _frozen(model: Any) -> Any:
    """The teacher: adapters merged where it has them, no dropout, nothing to learn."""
    if quantized := describe_model(model)["quantized_layers"]:
        raise StepError(f"a student is made of plain weights, the teacher's are {', '.join(quantized)}")
    merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    return merged.requires_grad_(False).eval()
