"""``harness export``: a suite's numbers in a form that other tools read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from harness.cli.reporting import suite_name
from harness.cli.terminal import print, print_json
from harness.errors import UsageError, did_you_mean
from harness.results.store import Store

FORMATS = ("pytest-benchmark", "benchmark-action-smaller", "benchmark-action-bigger")


def export(suite: str, wanted: str, results: Path, installation: str | None, out: Path | None) -> None:
    """Print the latest measurements of a suite in the form ``wanted``, or write them to ``out`` whole or not at all."""
    if wanted not in FORMATS:
        raise UsageError(f"unknown format '{wanted}'{did_you_mean(wanted, FORMATS)}; known: {', '.join(FORMATS)}")
    document, count = _document(suite, wanted, results, installation)
    if out is None:
        print_json(document)
        return
    from harness.results.record import write_file

    write_file(out, json.dumps(document, indent=1, allow_nan=False) + "\n")
    print(f"wrote {count} numbers to {out}")


def _document(suite: str, wanted: str, results: Path, installation: str | None) -> tuple[Any, int]:
    from harness.report.ci.measured import measured

    store, name = Store(results), suite_name(suite, results)
    if name not in store.suites():
        near = did_you_mean(name, store.suites())
        raise UsageError(f"no results for suite '{name}' in {results}{near}; run it first")
    read = store.records(name)
    for path, reason in read.quarantined:
        print(f"harness: left out {path.name}: {reason}", file=sys.stderr)
    own = store.installation if (store.cache / "installation").is_file() else None
    found = measured(name, read.records, store.plans(name), installation, own)
    if wanted == "pytest-benchmark":
        from harness.report.ci.pytest_benchmark import pytest_benchmark

        document = pytest_benchmark(found)
        return document, len(document["benchmarks"])
    from harness.report.ci.benchmark_action import benchmark_action

    entries = benchmark_action(found, "lower" if wanted.endswith("smaller") else "higher")
    return entries, len(entries)
