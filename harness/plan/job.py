"""The job file of a step: everything that a worker needs, as plain JSON (format 1, docs/architecture.md).

The last thing that the plan does. The launcher adds the attempt, the isolation and the paths.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.plan.plan import Plan
from harness.plan.steps import RUNNABLE, Step
from harness.plan.suite import Suite

FORMAT = 1


def job(step: Step, suite: Suite, *, data_file: Path | str | None = None) -> dict[str, Any]:
    """Return the job of ``step``; a step that is not to be run carries its state and the reason."""
    found: dict[str, Any] = {
        "format": FORMAT,
        "step": step.id,
        "suite": suite.name,
        "operation": step.operation,
        "environment": step.environment,
        "coordinates": step.coordinates,
        "adapter": step.stage.call.document(),
        "modifiers": [call.document() for call in step.stage.modifiers],
        "task": None if step.task is None else step.task.document(),
        "model": dict(step.model.spec),
        "data": dict(step.data.spec) if step.reads_data else None,
        "precision": step.precision,
        "hardware": asdict(step.hardware),
        "seed": step.seed,
        "budget": None if step.budget is None else asdict(step.budget),
        "limits": dict(suite.limits),
        "input": step.input,
        "reference": step.reference,
        "inputs": dict(step.others),
        "keeps_artefact": step.keeps_artefact,
        "data_file": None if data_file is None else str(data_file),
    }
    return found if step.state == RUNNABLE else found | {"state": step.state, "reason": step.reason}


def jobs(plan: Plan, *, data_file: Path | str | None = None) -> list[dict[str, Any]]:
    """Return the jobs of all steps in an order in which they can run."""
    return [job(step, plan.suite, data_file=data_file) for step in plan.steps]
