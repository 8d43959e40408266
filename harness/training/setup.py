"""From a job to a training set-up: the technique's rates, the suite's budget, then the stage's modifiers.

Light: the plan asks here whether a stage's modifiers fit its budget.
"""

from __future__ import annotations

from harness.contract import Budget, Job, TrainingParams, TrainingSetup
from harness.errors import UsageError

# Why a prefix cannot be had with checkpointing: the plan says it, and whoever trains without a plan.
NO_CACHE = "prefix_tuning feeds its prefix through the cache, which gradient_checkpointing has not"


def training_setup(job: Job, bytes_per_token: float | None = None) -> TrainingSetup:
    """Return the set-up in which this job's stage trains, every modifier applied in the order written.

    ``bytes_per_token`` of the training text is what turns a budget of bytes into steps.
    """
    return job.modify(plain_setup(job.params, job.budget, job.precision, job.budget.optimizer_steps(bytes_per_token)))


def plain_setup(params: TrainingParams, budget: Budget, precision: str, steps: int) -> TrainingSetup:
    """The set-up of a stage before its modifiers."""
    micro = budget.micro_batch_size or budget.batch_size
    if budget.batch_size % micro:
        raise UsageError(f"batch_size {budget.batch_size} is not a multiple of micro_batch_size {micro}")
    return TrainingSetup(
        learning_rate=params.learning_rate,
        schedule=params.schedule,
        warmup_share=params.warmup_share,
        optimizer=params.optimizer,
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        steps=steps,
        batch_size=budget.batch_size,
        micro_batch_size=micro,
        sequence_length=budget.sequence_length,
        evaluations=budget.evaluations,
        precision=precision,
    )
