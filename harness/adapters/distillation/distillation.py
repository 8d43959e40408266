"""``distillation``: a smaller model learns the teacher's soft targets beside the hard labels."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Checkpoint, Job, param
from harness.memory.held import Held
from harness.training.taught import StudentParams, Taught


class Distillation(Taught):
    """The model that it is given is the teacher, whatever made it; the student takes its place.

    ``alpha`` 0 asks the teacher nothing: the same student by labels alone, which is what a teacher has to beat.
    """

    summary = "soft targets of a larger model"
    source = "Hinton et al. 2015, arXiv:1503.02531"

    @dataclass(frozen=True)
    class Params(StudentParams):
        view: str = param("text", "what it learns from", choices=("text", "instructions"))
        layers: int | None = param(None, "layers of the student; half of the teacher's where not given", low=1)
        hidden_size: int | None = param(None, "width of the student; the teacher's where not given", low=1)
        intermediate_size: int | None = param(None, "width of its feed-forward blocks", low=1)
        init: str = param("teacher", "the student's first weights", choices=("teacher", "fresh"))
        temperature: float = param(2.0, "T of both softmaxes", low=0.01)
        alpha: float = param(0.5, "weight of the soft targets; the hard labels have the rest", low=0.0, high=1.0)
        cache: str = param(
            "none", "what is kept of the teacher's answers, for the next time that a sequence comes",
            choices=("none", "logits", "top_k"), neutral="none",
        )  # fmt: skip
        top_k: int = param(32, "logits of each position that cache=top_k keeps", low=1, neutral=32)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.view = params.view

    def holds(self, model: Held) -> Held:
        """The student learns beside its teacher, whose answers are soft targets."""
        params = self.params
        student = model.resized(layers=params.layers, hidden=params.hidden_size, intermediate=params.intermediate_size)
        return student.training().taught_by(model.shape, hard=1 - params.alpha, soft=params.alpha)

    def train(self, job: Job) -> Checkpoint:
        """Make the student and train it on running text or on answers."""
        from harness.training.answers import learn_answers
        from harness.training.distilling import Weights, learn_from
        from harness.training.pretraining import causal_objective, pretrain
        from harness.training.students import StudentShape
        from harness.training.teacher_memory import TeacherMemory

        given = self.params
        shape = StudentShape(given.layers, given.hidden_size, given.intermediate_size, given.init == "teacher")
        weights = Weights(given.alpha, 1 - given.alpha, temperature=given.temperature)
        memory = None
        if given.cache != "none" and weights.asks_teacher:
            memory = TeacherMemory(job.output, given.top_k if given.cache == "top_k" else None)
        change = learn_from(job, shape, weights, "causal", memory)
        if given.view == "instructions":
            return learn_answers(job, change, given.view)
        return pretrain(job, causal_objective, change)
