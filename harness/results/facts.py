"""What records say besides numbers: the machine, the commands, what was really opened, the last lines of failures.

Reports show it; nothing is computed from it. Standard library alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# The hard facts that are known when a step is planned, and make its hard id. What the step itself determines (the hash
# of its data) is recorded beside them.
PLAN_TIME_FACTS = (
    "cpu_model", "cores", "memory_gib", "gpus", "device", "devices", "ranks", "threads", "omp_wait_policy", "isolation",
    "measurement_version",
)  # fmt: skip


@dataclass
class Facts:
    """Facts of one suite's records. Every list is sorted or in record order, so the same records give the same facts.

    ``environments``: ``hard`` and ``soft`` facts by installation (the latest record's), and under ``others`` the soft
    ones of each environment beside the main one. ``observed`` and ``last_lines`` are by record name. ``commands`` are
    the distinct command lines by installation.
    """

    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    commands: dict[str, list[list[str]]] = field(default_factory=dict)
    observed: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_lines: dict[str, str] = field(default_factory=dict)


def facts_of(records: Iterable[Mapping[str, Any]]) -> Facts:
    """Collect the facts of ``records``."""
    facts = Facts()
    for record in sorted(records, key=lambda record: (record["started"], record["record"])):
        environment = record["environment"]
        installation = str(environment.get("installation"))
        if environment.get("hard"):
            _take(facts.environments.setdefault(installation, {"hard": {}, "soft": {}, "others": {}}), environment)
        commands = facts.commands.setdefault(installation, [])
        if record["command"] and list(record["command"]) not in commands:
            commands.append(list(record["command"]))
        if record["observed"]:
            facts.observed[record["record"]] = dict(record["observed"])
        if record["log_tail"] and record["status"] not in ("done", "skipped"):
            facts.last_lines[record["record"]] = _last_line(record["log_tail"])
    return facts


def _take(told: dict[str, Any], environment: Mapping[str, Any]) -> None:
    """Keep a record's facts; soft ones of other environments than the main one by their name."""
    soft = environment.get("soft") or {}
    told["hard"] = environment["hard"]
    if (name := soft.get("environment", "main")) == "main":
        told["soft"] = soft
    else:
        told["others"][name] = soft


def _last_line(lines: Iterable[str]) -> str:
    return next((line.strip() for line in reversed(list(lines)) if line.strip()), "")
