"""From a job to a training set-up: the technique's rates, the suite's budget, then the stage's modifiers."""

from __future__ import annotations

from dataclasses import replace

from harness.contract import Budget, Job, TrainingParams, TrainingSetup
from harness.errors import UsageError


def training_setup(job: Job, bytes_per_token: float | None = None) -> TrainingSetup:
    """Return the set-up in which this job's stage trains, every modifier applied in the order written.

    ``bytes_per_token`` of the training text is what turns a budget of bytes into steps.
    """
    params: TrainingParams = job.params
    budget = stage_budget(job.budget, params)
    micro = budget.micro_batch_size or budget.batch_size
    if budget.batch_size % micro:
        raise UsageError(f"batch_size {budget.batch_size} is not a multiple of micro_batch_size {micro}")
    return job.modify(
        TrainingSetup(
            learning_rate=params.learning_rate,
            schedule=params.schedule,
            warmup_share=params.warmup_share,
            optimizer=params.optimizer,
            weight_decay=params.weight_decay,
            max_grad_norm=params.max_grad_norm,
            steps=budget.optimizer_steps(bytes_per_token),
            batch_size=budget.batch_size,
            micro_batch_size=micro,
            sequence_length=budget.sequence_length,
            evaluations=budget.evaluations,
            precision=job.precision,
        )
    )


def stage_budget(budget: Budget, params: TrainingParams) -> Budget:
    """Return the suite's budget with the stage's own ``tokens`` or ``steps`` in its place."""
    if params.steps is not None:
        return replace(budget, steps=params.steps, tokens=None, bytes=None)
    if params.tokens is not None:
        return replace(budget, steps=None, tokens=params.tokens, bytes=None)
    return budget
