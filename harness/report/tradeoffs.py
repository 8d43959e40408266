"""Pareto pictures: quality against memory and against decode speed, with what no other method beats marked."""

from __future__ import annotations

from collections.abc import Callable

import pandas

from harness.analyse.pareto import pareto_set
from harness.analyse.summary import Line
from harness.metrics import metric as declared
from harness.report.content import Content
from harness.report.document import Block, Bullets, Figure, Paragraph, Section
from harness.report.outcomes import Key
from harness.report.results import inference_memory, set_title
from harness.report.tradeoff_figures import frontier

QUALITY = ("bits_per_byte", "classification_accuracy", "choice_accuracy", "loss")
MIB = 2.0**20
EXPLANATION = (
    "Filled marks, joined by a dashed line, are the Pareto set: no other method is at least as good on both axes and "
    "better on one. It is taken on the means; methods whose intervals overlap may change places."
)


def tradeoffs(content: Content) -> Section | None:
    """The section, or None where no model has both a quality and a cost for at least two methods."""
    pictures: list[Figure] = []
    sentences: list[str] = []
    for number, which in enumerate(content.sets, start=1):
        for name, title, metric, find in _costs(content):
            points = _points(content, which, metric, find)
            if points is None:
                continue
            caption = f"Quality against {name}, {set_title(which)}."
            pictures.append(
                frontier(
                    points,
                    f"quality-against-{name.replace(' ', '-')}-{number}",
                    caption,
                    content.methods,
                    x_title=title,
                    scale=MIB if declared(metric).unit == "B" else 1.0,
                )
            )
            sentences += _sentences(points, name)
    if not pictures:
        return None
    blocks: list[Block] = [Paragraph(EXPLANATION, "note"), *pictures, Bullets(sentences)]
    return Section("Quality against memory and speed", blocks)


Find = Callable[[Key], Line | None]


def _costs(content: Content) -> list[tuple[str, str, str, Find]]:
    """(name, axis title, metric, how to find it) of the costs that quality is drawn against."""
    speeds = content.tasks_with("decode_tokens_per_second")
    memory = next((found for one in content.outcomes if (found := inference_memory(content, one.key))), None)
    costs: list[tuple[str, str, str, Find]] = []
    if memory is not None:
        task, metric = memory
        costs.append(("memory", f"{declared(metric).label}, MiB", metric, lambda key: content.score(key, task, metric)))
    size = "checkpoint_bytes"
    costs.append(("size on disk", "Size on disk, MiB", size, lambda key: content.made(key, size)))
    if speeds:
        name = "decode_tokens_per_second"
        costs.append(("decode speed", "Decode tokens/s", name, lambda key: content.score(key, speeds[0], name)))
    return costs


def _points(content: Content, which: Key, cost: str, find: Find) -> pandas.DataFrame | None:
    frames = []
    for task in content.tasks:
        metric = next((name for name in QUALITY if task in content.tasks_with(name)), None)
        if metric is None:
            continue
        lines = [
            {"task": task, "metric_label": declared(metric).label, "method": outcome.key[0],
             "precision": str(outcome.key[3]), "x": x["value"], "y": y["value"]}
            for outcome in content.groups(which)
            if (x := find(outcome.key)) and (y := content.score(outcome.key, task, metric))
        ]  # fmt: skip
        if len(lines) > 1:
            frames.append(_marked(pandas.DataFrame(lines), cost, metric))
    return pandas.concat(frames, ignore_index=True) if frames else None


def _marked(points: pandas.DataFrame, cost: str, quality: str) -> pandas.DataFrame:
    """Mark the Pareto set, and name one mark per method in it, so that the names stay readable."""
    mask = pareto_set(points.rename(columns={"x": cost, "y": quality}), cost, quality)
    named = mask & ~points["method"].where(mask).duplicated()
    label = points["method"] + " · " + points["precision"]
    return points.assign(pareto=mask, named=named, label=label)


def _sentences(points: pandas.DataFrame, name: str) -> list[str]:
    found = []
    for task, group in points.groupby("task", sort=False):
        members = group[group["pareto"]].sort_values("x")["label"].tolist()
        found.append(f"{task} against {name}: {'; '.join(members)}.")
    return found
