"""One operation inside a worker: turn a job file into adapter, task, data and checkpoint, and run it under the meter.

The worker has set the process up; what happens here is what the spans of the record show.
"""

from __future__ import annotations

import importlib
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from harness.catalogue import digest_of, load_adapter, load_task, missing_packages
from harness.contract import Adapter, Budget, Checkpoint, Dataset, Hardware, Job, Named, TrainingSetup
from harness.errors import DataError, NotInstalled, StepError
from harness.parameters import build_params
from harness.run.meter import Meter
from harness.run.server import gpu_unopened


class NoData:
    """The data set of a step that reads none."""

    name = "none"
    fingerprint = ""

    def views(self) -> tuple[str, ...]:
        """No view."""
        return ()

    def view(self, name: str, split: str) -> list[Any]:
        """Always ``DataError``: the technique did not say that it reads data."""
        raise DataError(f"this step was planned without data, but asks for view '{name}' ({split})")


def perform(job: Mapping[str, Any], meter: Meter) -> None:
    """Run the operation of a job; what it observes goes to the meter, what it makes into the cache."""
    if job["operation"] == "canary":
        from harness.run.canary import measure

        measure(meter, str(job["hardware"].get("device", "cpu")))
        return
    scratch = Path(job["cache"]) / "partial" / f"{job['step']}.{job['attempt']}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        with prepared(job, meter, scratch) as (adapter, task, request):
            if task is not None:
                _evaluate(job, adapter, task, request, meter)
            else:
                _make(job, adapter, request, meter)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def prepared(
    job: Mapping[str, Any], meter: Meter, scratch: Path, *, rank: int = 0
) -> Iterator[tuple[Any, Any, Job]]:
    """Import what a job needs and open its data and checkpoint: its adapter, its task if any, and the request."""
    with meter.span("import"):
        adapter, task, modifiers = _plugins(job)
    meter.libraries_loaded()
    with meter.span("data"):
        request = _request(job, adapter, task, modifiers, scratch, meter)
        request.rank = rank
    yield adapter, task, request


def _plugins(job: Mapping[str, Any]) -> tuple[Any, Any, list[Any]]:
    """Import everything that the operation needs, so that no import is timed as work (both isolation modes alike).

    ``NotInstalled`` where a package of it is not here: a job may have been planned on a machine that has more.
    """
    adapter = _built(load_adapter, job["adapter"])
    task = _built(load_task, job["task"]) if job["operation"] == "eval" else None
    modifiers = [_built(load_adapter, spec) for spec in job.get("modifiers") or ()]
    names = [name for plugin in (adapter, task, *modifiers) for name in _imports(plugin, job["operation"])]
    if lacking := missing_packages(dict.fromkeys(names)):
        raise NotInstalled("; ".join(lacking))
    forks = task is not None and task.measures_training and job["hardware"]["device"] == "cuda"
    _import(names, forks=forks)
    _seed(int(job.get("seed") or 0), needs_torch=(job.get("model") or {}).get("kind") != "none")
    return adapter, task, modifiers


def _import(names: Sequence[str], *, forks: bool) -> None:
    """Import all but what opens a GPU, where the work ``forks``: such a one is left to the forked process."""
    with gpu_unopened() if forks else nullcontext(()) as left_out:
        for name in names:
            if name not in left_out:
                importlib.import_module(name)


def _imports(plugin: Any, operation: str) -> tuple[str, ...]:
    """Top-level imports of a technique for one operation, or of a task."""
    if plugin is None:
        return ()
    return plugin.software(operation)[1] if isinstance(plugin, Adapter) else tuple(plugin.requires)


def _built(load: Callable[[str], type[Any]], spec: Mapping[str, Any]) -> Any:
    plugin = load(spec["module"])
    if "sha256" in spec and digest_of(plugin) != spec["sha256"]:
        raise StepError(f"the plug-in {spec['name']} is another one here than it was when this was planned: plan again")
    return plugin(build_params(plugin.Params, spec["params"], owner=spec["name"]))


def _seed(seed: int, *, needs_torch: bool) -> None:
    if needs_torch or "torch" in sys.modules:
        from harness.training.seeding import seed_everything

        seed_everything(seed)
    else:
        random.seed(seed)


def _request(job: Mapping[str, Any], adapter: Any, task: Any, modifiers: list[Any], scratch: Path, meter: Meter) -> Job:
    """Open data and checkpoint, and put together what the operation is given."""
    cache = Path(job["cache"])
    data = _dataset(job, task.view() if task is not None else adapter.view)
    meter.observe("data_fingerprint", data.fingerprint or None)
    if getattr(data, "expected", True) is False:
        meter.flag(f"data set '{data.name}' differs from the expected one: its fingerprint is {data.fingerprint[:16]}")
    checkpoint = _checkpoint(job) if _opens(task) else Checkpoint("none", {})
    if of_the_hub := _of_the_hub(checkpoint, data):
        meter.observe("hub", of_the_hub)
    return Job(
        params=task.params if task is not None else adapter.params,
        checkpoint=checkpoint,
        data=data,
        precision=job["precision"],
        hardware=_known(Hardware, job["hardware"]),
        seed=int(job.get("seed") or 0),
        budget=_known(Budget, job.get("budget") or {}),
        meter=meter,
        output=scratch,
        modify=_modification(modifiers),
        holds=getattr(adapter, "holds", lambda model: None),
        reference=cache / "artefacts" / job["reference"] if job.get("reference") else None,
        artefacts=_artefacts(job, scratch),
        model=dict(job.get("model") or {}),
        inputs=_inputs(job),
        named=_named(job.get("task") or {}),
    )


def _of_the_hub(checkpoint: Checkpoint, data: Dataset) -> dict[str, str]:
    """What of the hub was opened, with its commit: the model and the data."""
    from harness.hub.cache import origin_of

    model = next(filter(None, map(origin_of, checkpoint.parts.values())), None)
    commit = getattr(data, "manifest", {}).get("commit")
    found = {"model": model, "data": f"{data.name}@{commit}" if commit else None}
    return {name: value for name, value in found.items() if value}


def _opens(task: Any) -> bool:
    """Whether a step reads a checkpoint: every operation does, and every task but those that look at something else."""
    return task is None or (task.opens and not task.measures_training)


def _dataset(job: Mapping[str, Any], view: str | None) -> Dataset:
    if not job.get("data") or view is None:
        return NoData()
    from harness.data import open_dataset

    prepared = Path(job["data_file"]) if job.get("data_file") else None
    dataset: Dataset = open_dataset(job["data"], prepared=prepared, cache=Path(job["cache"]))
    return dataset


def _checkpoint(job: Mapping[str, Any]) -> Checkpoint:
    if not job.get("input") and (job.get("model") or {}).get("kind", "none") == "none":
        return Checkpoint(kind="none", parts={})
    from harness.models.checkpoint import open_input

    return open_input(job)


def _inputs(job: Mapping[str, Any]) -> dict[str, Checkpoint]:
    """What the steps made that parameters name by a method."""
    if not job.get("inputs"):
        return {}
    from harness.models.checkpoint import load

    return {name: load(Path(job["cache"]), step) for name, step in job["inputs"].items()}


def _named(task: Mapping[str, Any]) -> Named | None:
    """What the plan found of what a task's parameters name outside the suite."""
    return Named(task["content"], task.get("paths") or {}) if "content" in task else None


def _make(job: Mapping[str, Any], adapter: Any, request: Job, meter: Meter) -> None:
    """Train or compress, seal what was made, and record what is really there."""
    from harness.models.checkpoint import load, seal

    if job["operation"] == "train" and request.hardware.ranks > 1 and adapter.gives != {"tokenizer"}:
        from harness.run.ranks import train_on_ranks

        made = train_on_ranks(job, request, meter)
    else:
        with meter.span(job["operation"]):
            made = getattr(adapter, job["operation"])(request)
    with request.meter.span("seal"):
        if not isinstance(made, Checkpoint):
            raise StepError(f"{job['operation']} returned no checkpoint but {type(made).__name__}")
        seal(made, request.output, Path(job["cache"]), job["step"])
    with request.meter.span("inspect"):
        _inspect(load(Path(job["cache"]), job["step"]), request.meter, trained=job["operation"] == "train")


def _evaluate(job: Mapping[str, Any], adapter: Any, task: Any, request: Job, meter: Meter) -> None:
    """Open the checkpoint with the adapter of the last stage, let the task score it, keep what others need."""
    if task.measures_training:
        from harness.run.probe import libraries, probe

        with request.meter.span("import"):
            libraries()
        folder = request.output / "probe"
        request.probe = partial(probe, job, folder)
        task.score(adapter, request)
        return
    if not task.opens:
        with request.meter.span("score"):
            task.score(None, request)
        return
    with request.meter.span("load"):
        scorer = adapter.eval(request)
        meter.model_loaded()
    if hasattr(scorer, "describe"):
        with request.meter.span("inspect"):
            _describe(scorer, request)
    with request.meter.span("score"):
        task.score(scorer, request)
    if request.artefacts is not None:
        final = Path(job["cache"]) / "artefacts" / job["step"]
        with request.meter.span("seal"):
            final.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(final, ignore_errors=True)
            request.artefacts.rename(final)


def _inspect(checkpoint: Checkpoint, meter: Any, *, trained: bool) -> None:
    from harness.models.inspect import checkpoint_bytes, inspect_checkpoint, shipped_bytes, weight_bytes

    meter.observe("checkpoint", inspect_checkpoint(checkpoint))
    if trained:
        meter.metric("further_task_bytes", sum(shipped_bytes(checkpoint, name) for name in checkpoint.made))
    meter.metric("checkpoint_bytes", checkpoint_bytes(checkpoint))
    meter.metric("weight_bytes", weight_bytes(checkpoint))


def _describe(scorer: Any, request: Job) -> None:
    """Record what was really opened and what it takes on disk, so that every method's size is known the same way."""
    from harness.models.inspect import checkpoint_bytes, weight_bytes

    found = scorer.describe()
    request.meter.observe("scorer", found)
    size = weight_bytes(request.checkpoint)
    request.meter.metric("checkpoint_bytes", checkpoint_bytes(request.checkpoint))
    if "parameters" not in found:  # a tokenizer
        return
    request.meter.metric("parameters", found["parameters"])
    if size:
        request.meter.metric("weight_bytes", size)
        request.meter.metric("bits_per_weight", 8 * size / found["parameters"])


def _artefacts(job: Mapping[str, Any], scratch: Path) -> Path | None:
    if not job.get("keeps_artefact"):
        return None
    path = scratch / "artefacts"
    path.mkdir()
    return path


def _modification(modifiers: list[Any]) -> Callable[[TrainingSetup], TrainingSetup]:
    def modify(setup: TrainingSetup) -> TrainingSetup:
        for modifier in modifiers:
            setup = modifier.modify(setup)
        return setup

    return modify


def _known(kind: type, values: Mapping[str, Any]) -> Any:
    names = {item.name for item in fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in names})
