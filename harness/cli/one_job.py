"""Running one job file that was planned elsewhere; the standard library alone, for a machine that has little else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness.catalogue import missing_packages
from harness.cli import NEEDED
from harness.cli.fetching import Source, Spec, fetch_all, revision_of
from harness.cli.terminal import print, print_error
from harness.errors import DataError, HarnessError, UsageError
from harness.plan.sources import DataSource, check_hub, hub_model
from harness.run.launcher import read_job, run_job
from harness.run.supervise import Terminated


def run_one_job(path: Path, *, as_json: bool) -> int:
    """Run one job file and say how it ended."""
    fetch_for_job(read_job(path), quiet=as_json)
    try:
        record = run_job(path)
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"stopped; the record of {path} says how far it came", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    if as_json:
        print(json.dumps(record))
    else:
        reason = f": {record['reason']}" if record["reason"] else ""
        print(f"{record['record']} {record['status']} after {record['wall_seconds'] or 0:.1f} s{reason}")
    return 0 if record["status"] in ("done", "skipped") else 1


def fetch_for_job(job: Spec, *, quiet: bool) -> None:
    """Fetch what a job that was planned elsewhere lacks here, at the commits that it names."""
    model, data = job.get("model") or {}, job.get("data") or {}
    wanted: list[Source] = []
    if model.get("kind") == "hub" and not job.get("input"):
        wanted.append(hub_model("hub", str(model.get("id")), revision_of(model)))
    if data.get("kind") == "hub" and not job.get("data_file"):
        check_hub(str(data.get("id")), revision_of(data), DataError)
        wanted.append(DataSource("hub", data))
    fetch_all([(source, source.spec) for source in wanted if not source.here], quiet=quiet)


def alone(arguments: list[str]) -> int:
    """``run --job FILE [--json]`` without what the command line is made of; for all else says what to install."""
    given = [each for argument in arguments if argument != "--json" for each in argument.split("=", 1)]
    try:
        if given[:2] != ["run", "--job"] or len(given) != 3:
            raise UsageError(
                f"{'; '.join(missing_packages(NEEDED))}; here only `harness run --job FILE` works, with job files that "
                "`harness plan SUITE --jobs FOLDER` writes on another machine"
            )
        return run_one_job(Path(given[2]), as_json="--json" in arguments)
    except HarnessError as error:
        print_error(error)
        return error.exit_code
