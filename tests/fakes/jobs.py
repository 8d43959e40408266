"""Complete jobs of the fake techniques, as the plan would hand them to the launcher."""

from __future__ import annotations

from typing import Any


def make_job(step: str, act: str = "good", *, wall: float = 60, silence: float = 60, **more: Any) -> dict[str, Any]:
    """A train job of the fake technique that does ``act``."""
    params = {"act": act, "amount": more.pop("amount", 0.0), "path": more.pop("path", "")}
    coordinates = {
        "method": act, "stage": act, "technique": "misbehave", "task": None, "model": "none", "data": None,
        "precision": "fp32", "hardware": "cpu(threads=1)", "seed": 0, "params": params,
    }  # fmt: skip
    return {
        "format": 1, "step": step, "suite": "fakes", "operation": "train", "coordinates": coordinates,
        "adapter": {"name": "misbehave", "module": "fakes.misbehave", "params": params}, "modifiers": [],
        "task": None, "model": {"kind": "none"}, "data": None, "precision": "fp32",
        "hardware": {"device": "cpu", "devices": 1, "threads": 1, "ranks": 1}, "seed": 0, "budget": None,
        "limits": {"wall_seconds": wall, "silence_seconds": silence}, "input": None, "reference": None,
        "keeps_artefact": False, "data_file": None,
    } | more  # fmt: skip


def make_eval(step: str, **more: Any) -> dict[str, Any]:
    """An eval job of the fake task."""
    task = {"name": "count", "module": "fakes.count", "params": {}}
    job = make_job(step, "good", operation="eval", task=task, **more)
    job["coordinates"]["task"] = "count"
    return job
