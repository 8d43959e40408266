"""What records say besides numbers: the machine, the commands, what was really opened, the last lines of failures.

Reports show it; nothing is computed from it. Standard library alone.
"""

from __future__ import annotations

import marshal
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
    the distinct command lines by installation. ``sources`` are the records that environments and commands are of.
    """

    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    commands: dict[str, list[list[str]]] = field(default_factory=dict)
    observed: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_lines: dict[str, str] = field(default_factory=dict)
    sources: dict[str, set[str]] = field(default_factory=dict)


class FactsOf:
    """Collects the facts of records in any order, and keeps little of each: what many have alike is kept once."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, str, dict[str, Any]]] = []
        self._alike: dict[bytes, Any] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Note one record."""
        environment = record["environment"]
        kept = {
            "installation": str(environment.get("installation")), "hard": self._once(environment.get("hard")),
            "soft": self._once(environment.get("soft") or {}), "command": self._once(list(record["command"])),
        }  # fmt: skip
        if record["observed"]:
            kept["observed"] = dict(record["observed"])
        if record["log_tail"] and record["status"] not in ("done", "skipped"):
            kept["last"] = _last_line(record["log_tail"])
        self._kept.append((record["started"], record["record"], kept))

    def facts(self) -> Facts:
        """The facts of all records noted."""
        facts = Facts()
        latest: dict[tuple[str, str], str] = {}
        for _, name, kept in sorted(self._kept, key=lambda entry: entry[:2]):
            installation, sources = kept["installation"], facts.sources.setdefault(kept["installation"], set())
            if kept["hard"]:
                told = facts.environments.setdefault(installation, {"hard": {}, "soft": {}, "others": {}})
                latest[installation, _take(told, kept["hard"], kept["soft"])] = name
            commands = facts.commands.setdefault(installation, [])
            if kept["command"] and kept["command"] not in commands:
                commands.append(kept["command"])
                sources.add(name)
            if "observed" in kept:
                facts.observed[name] = kept["observed"]
            if "last" in kept:
                facts.last_lines[name] = kept["last"]
        for (installation, _), name in latest.items():
            facts.sources[installation].add(name)
        return facts

    def _once(self, value: Any) -> Any:
        return self._alike.setdefault(marshal.dumps(value, 2), value)


def facts_of(records: Iterable[Mapping[str, Any]]) -> Facts:
    """Collect the facts of ``records``."""
    found = FactsOf()
    for record in records:
        found.add(record)
    return found.facts()


def _take(told: dict[str, Any], hard: Mapping[str, Any], soft: Mapping[str, Any]) -> str:
    """Keep a record's facts; soft ones of other environments than the main one by their name, which is returned."""
    told["hard"] = hard
    if (name := str(soft.get("environment", "main"))) == "main":
        told["soft"] = soft
    else:
        told["others"][name] = soft
    return name


def _last_line(lines: Iterable[str]) -> str:
    return next((line.strip() for line in reversed(list(lines)) if line.strip()), "")
