"""``lm_eval``: a downstream task of EleutherAI's lm-evaluation-harness, answered by the harness's own scorers.

``task`` is a file of one's own (``./task.yaml``; relative to the suite, its data files relative to it), whose content
enters the step's id, or a name that lm-eval ships, which then stands for its version. Prompts, filters, metrics and
their aggregation are lm-eval's; how text becomes ids is said by ``rules`` (``harness.models.answering``): those of
lm-eval's own ``hf`` model, or with one beginning of text and no delimiter after nothing. Scores of items are kept, so
that methods are compared item by item.
"""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import Job, Named, Task, param
from harness.data import task_file, task_results
from harness.errors import DataError, StepError, did_you_mean
from harness.plain_text import one_line

# Metrics of lm-eval by its own names.
METRICS = {
    name: f"lm_eval_{name}"
    for name in (
        "acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "f1", "mcc", "brier_score", "perplexity",
        "word_perplexity", "byte_perplexity", "bits_per_byte", "bleu", "chrf", "ter",
    )
}  # fmt: skip
_NAME = re.compile(r"[\w][\w.+-]*")


class LmEval(Task):
    """Every metric of one task, with the scores of its items."""

    summary = "a downstream task of lm-eval, by name or from a file of one's own"
    requires = ("torch", "transformers", "datasets", "lm_eval")
    preload = ("lm_eval.api.task", "lm_eval.models.utils")
    metrics = tuple(METRICS.values())

    @dataclass(frozen=True)
    class Params:
        task: str = param("", "a name that lm-eval knows, or a file like ./task.yaml")
        limit: int | None = param(None, "number of items, the first ones; null: all", low=1)
        shots: int | None = param(None, "solved examples in front of each item; null: as the task says", low=0)
        rules: str = param("lm_eval", "how text becomes tokens", choices=("lm_eval", "harness"))
        filter: str | None = param(None, "which of the task's filters decides an answer; null: its first")
        metric: str | None = param(None, "the one metric of the task that is reported; null: all")
        functions: bool = param(False, "run the Python that a task file names with !function")
        chat_template: str = param(
            "none", "auto: prompts as messages by the tokenizer's chat template, where it has one",
            choices=("none", "auto"), neutral="none",
        )  # fmt: skip

    def named(self, folder: Path) -> Named:
        """The task's file by its content, or the version of lm-eval that a name stands for."""
        params = self.params
        if params.metric is not None and params.metric not in METRICS:
            hint = did_you_mean(params.metric, METRICS) or f"; known: {', '.join(METRICS)}"
            raise DataError(f"'lm_eval': unknown metric '{one_line(params.metric, 60)}'{hint}")
        if not params.task:
            raise DataError("'lm_eval' needs the parameter 'task': a name of lm-eval's, or a file like ./task.yaml")
        if not _is_file(params.task):
            if not _NAME.fullmatch(params.task):
                raise DataError(f"'lm_eval': '{one_line(params.task, 60)}' is no name and no file like ./task.yaml")
            return Named({"lm_eval": _version()})
        try:
            path = (folder / Path(params.task).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError):
            raise DataError(f"'lm_eval': no file can be named '{one_line(params.task, 100)}'") from None
        found = self._read(path)
        return Named({"task": found.fingerprint}, {"task": str(path)})

    def score(self, scorer: Any, job: Job) -> None:
        """Build the task's requests, answer them, and hand on what lm-eval makes of the answers."""
        from harness.models.answering import ScorerModel

        with job.meter.span("data"):
            task = self._task(job)
            self._reported(task, list(task.aggregation()))
            model = ScorerModel(scorer, self.params.rules, task.get_config("target_delimiter") or "")
            talks = self.params.chat_template == "auto" and bool(model.tokenizer.chat_template)
            task.build_all_requests(limit=self.params.limit, **(model.as_conversations() if talks else {}))
            requests = task_results.by_type(task.instances)
        for kind, asked in requests.items():
            with job.meter.span("generate" if kind == "generate_until" else "score"):
                answers = getattr(model, kind)(asked)
            for request, answer in zip(asked, answers, strict=True):
                request.resps.append(answer)
            job.meter.progress()
        with job.meter.span("aggregate"):
            self._report(task, job)
        observed = {"name": task.config.task, "version": task.VERSION, "output_type": task.OUTPUT_TYPE,
                    "requests": sum(map(len, requests.values())), "contexts_truncated": model.truncated,
                    "shots": task.get_config("num_fewshot"), "rules": self.params.rules}  # fmt: skip
        if self.params.chat_template == "auto":
            observed["chat_template"] = model.template() if talks else "the tokenizer has none"
        job.meter.observe("lm_eval", observed)

    def fetch(self, named: Named | None) -> None:
        """Let ``datasets`` bring the task's data into its cache, by making the task once."""
        from harness.data import task_package

        if named is None or "task" not in named.paths:
            task_package.from_package(self.params.task)
            return
        found = self._read(Path(named.paths["task"]))
        if "data_files" in (found.config.get("dataset_kwargs") or {}):  # they lie beside it
            return
        with tempfile.TemporaryDirectory() as scratch:
            task_package.from_file(found, Path(scratch), functions=self.params.functions)

    def _read(self, path: Path) -> task_file.TaskFile:
        return task_file.read(path, functions=self.params.functions, metrics=METRICS)

    def _task(self, job: Job) -> Any:
        """The task as lm-eval's object; ``StepError`` where its file is no longer what was planned."""
        from harness.data import task_package

        paths = job.named.paths if job.named is not None else {}
        if "task" in paths:
            found = self._read(Path(paths["task"]))
            if job.named is None or found.fingerprint != job.named.content["task"]:
                raise StepError(f"the task file {found.name} or its data changed since this was planned: plan anew")
            task = task_package.from_file(found, job.output, functions=self.params.functions)
        else:
            task = task_package.from_package(self.params.task)
        task_package.prepare(task, self.params.shots)
        return task

    def _report(self, task: Any, job: Job) -> None:
        values, items = task_results.values(task, self.params.filter, self.params.limit)
        wanted = self._reported(task, list(values))
        aggregation = task.aggregation()
        for name in wanted:
            combine = aggregation.get(name, statistics.fmean)
            if not callable(combine):
                raise StepError(f"the task {task.config.task}: lm-eval has no such aggregation of {name}")
            job.meter.metric(METRICS[name], float(combine(values[name])))
        job.meter.observe("items", {"scored": len(items)})
        job.meter.items("lm_eval", task_results.columns(items, wanted))

    def _reported(self, task: Any, names: Sequence[str]) -> list[str]:
        """Which metrics of the task are reported; ``StepError`` where one of them is not declared."""
        wanted = [self.params.metric] if self.params.metric is not None else list(names)
        for name in wanted:
            if name not in names or name not in METRICS:
                known = ", ".join(one for one in names if one in METRICS) or "none that is known here"
                raise StepError(
                    f"the task {task.config.task} has no metric '{one_line(name, 60)}' that can be reported; "
                    f"choose one with metric= ({known})"
                )
        return wanted


def _is_file(task: str) -> bool:
    return task.startswith(("./", "../", "/", "~")) or task.endswith((".yaml", ".yml"))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lm-eval")
    except PackageNotFoundError:
        return "not installed"
