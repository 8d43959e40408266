"""``harness list``: every technique and task with its parameters, defaults and source."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from harness import catalogue
from harness.cli.terminal import print
from harness.contract import Adapter, Modifier, Task
from harness.errors import UsageError, did_you_mean

TASKS = "tasks"


def describe_all(wanted: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """Describe everything that a suite may name, or what is named or in a group that is named.

    Nothing heavy is imported. A name that is neither is refused with the nearest one.
    """
    found = {
        "techniques": [_technique(name) for name in catalogue.adapter_names()],
        "tasks": [_task(name) for name in catalogue.task_names()],
    }
    groups = {item["name"]: {item["name"], item["group"]} for item in found["techniques"]}
    groups |= {item["name"]: {item["name"], TASKS} for item in found["tasks"]}
    known = set().union(*groups.values())
    for name in wanted:
        if name not in known:
            near = did_you_mean(name, known)
            raise UsageError(f"unknown technique, task or group {name!r}{near or '; see `harness list`'}")
    asked = set(wanted)
    return {
        kind: [item for item in items if not asked or asked & groups[item["name"]]] for kind, items in found.items()
    }


def show_listing(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print the description for people, all at once: each call looks for secrets anew, and there are 500 lines."""
    print("\n".join(_lines(found)))


def _lines(found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    group = None
    for item in sorted(found["techniques"], key=lambda one: one["group"]):
        if item["group"] != group:
            group = item["group"]
            yield f"\n{group}"
        yield from (f"  {item['name']}: {item['summary']}", f"      {item['source']}")
        yield from _parameter_lines(item["parameters"])
    if found["tasks"]:
        yield f"\n{TASKS}"
    for item in found["tasks"]:
        yield from (f"  {item['name']}: {item['summary']}", f"      measures {', '.join(item['metrics'])}")
        yield from _parameter_lines(item["parameters"])


def _technique(name: str) -> dict[str, Any]:
    kind: type[Adapter] = catalogue.adapter_class(name)
    return {
        "name": name,
        "group": catalogue.group_of(name),
        "summary": kind.summary,
        "source": kind.source,
        "operations": list(kind.operations()),
        "modifier": issubclass(kind, Modifier),
        "requires": list(kind.requires),
        "environment": kind.environment,
        "missing": catalogue.missing_software(kind),
        "precisions": list(kind.precisions),
        "devices": list(kind.devices),
        "parameters": _parameters(kind.Params),
    }


def _task(name: str) -> dict[str, Any]:
    kind: type[Task] = catalogue.task_class(name)
    return {
        "name": name,
        "summary": kind.summary,
        "metrics": list(kind.metrics),
        "requires": list(kind.requires),
        "missing": catalogue.missing_packages(kind.requires),
        "parameters": _parameters(kind.Params),
    }


def _parameters(params: type) -> list[dict[str, Any]]:
    return [
        {"name": item.name, "default": item.default, "help": item.metadata.get("help", "")}
        | {key: item.metadata[key] for key in ("low", "high", "choices") if item.metadata.get(key) is not None}
        for item in dataclasses.fields(params)
    ]


def _parameter_lines(parameters: list[dict[str, Any]]) -> Iterator[str]:
    for item in parameters:
        choices = f" ({', '.join(map(str, item['choices']))})" if "choices" in item else ""
        yield f"      {item['name']}={item['default']}  {item['help']}{choices}"
