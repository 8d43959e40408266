"""``distilgpt2``: DistilBERT's recipe for a decoder: alternate layers, soft targets, next tokens, hidden states."""

from __future__ import annotations

from harness.contract import Checkpoint, Job
from harness.memory.held import Held
from harness.training.taught import RecipeParams, Taught


class DistilGpt2(Taught):
    """The student has the teacher's width and alternate layers of it. Llama-like decoders are taken as well."""

    summary = "half a decoder, taught by the whole"
    source = "Sanh et al. 2019, arXiv:1910.01108, and the model card of distilgpt2; weights of the losses as published"
    view = "text"
    Params = RecipeParams

    def holds(self, model: Held) -> Held:
        """Half the layers learn, beside the teacher where one is asked."""
        params = self.params
        student = model.resized(layers=params.layers).training()
        weights = {"hard": params.hard_weight, "soft": params.soft_weight, "cosine": params.cosine_weight}
        return student.taught_by(model.shape, **weights)

    def train(self, job: Job) -> Checkpoint:
        """Take alternate layers and train them on running text."""
        from harness.training.distilling import Weights, learn_from
        from harness.training.pretraining import causal_objective, pretrain
        from harness.training.students import StudentShape

        weights = Weights.of(self.params)
        return pretrain(job, causal_objective, learn_from(job, StudentShape(self.params.layers), weights, "causal"))
