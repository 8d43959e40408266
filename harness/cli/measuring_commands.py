"""What measures and shows: plan, run, report, rows, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AsJson, Isolation, Remeasure, Results, SuiteName, app
from harness.cli.terminal import print, print_json
from harness.cli.untrusted import over_files


@app.command("plan")
def plan_command(
    suite: SuiteName,
    results: Results = Path("results"),
    isolation: Isolation = "fork",
    job_files: Annotated[
        Path | None, typer.Option("--jobs", help="write the job files of what is to run to this folder, for elsewhere")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a suite would run here, what is done already, and what is skipped with the reason."""
    from harness.cli.planning import planned, write_jobs
    from harness.cli.tables import show_plan
    from harness.results.store import Store

    made = planned(suite, results, isolation)
    if job_files is not None:
        print(f"wrote {write_jobs(made, job_files)} job files to {job_files}, numbered in the order to run them")
    elif as_json:
        print_json(made.to_dict())
    else:
        show_plan(made, Store(results).measured_elsewhere(made.suite.name))


@app.command("run")
def run_command(
    suite: Annotated[
        str | None, typer.Argument(metavar="SUITE", help="a suite file, or the name of one in suites/")
    ] = None,
    job: Annotated[Path | None, typer.Option(help="run one job file planned elsewhere, and nothing else")] = None,
    results: Results = Path("results"),
    reports: Annotated[Path, typer.Option(help="reports folder")] = Path("reports"),
    isolation: Isolation = "fork",
    again: Annotated[bool, typer.Option("--again", help="measure everything again, also what is done")] = False,
    remeasure: Remeasure = 3,
    report: Annotated[bool, typer.Option(help="write the report at the end")] = True,
    launcher: Annotated[str, typer.Option(help="where steps run: local (this machine), ray or slurm")] = "local",
    launcher_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="an option of ray or slurm; repeatable")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run what a suite still lacks here, then show the table and write the report."""
    from harness.cli.one_job import run_one_job
    from harness.cli.running import How, run_suite
    from harness.errors import UsageError
    from harness.results.record import utc_now

    if (suite is None) == (job is None):
        raise UsageError("give a suite or --job FILE, one of the two")
    if job is not None:
        raise typer.Exit(run_one_job(job, as_json=as_json))
    assert suite is not None
    how = How(isolation, utc_now() if again else "", remeasure, as_json)
    raise typer.Exit(
        run_suite(
            suite, how, results=results, reports=reports if report else None, launcher=launcher,
            options=launcher_option or (),
        )
    )  # fmt: skip


@app.command("report")
@over_files("the report")
def report_command(
    suite: SuiteName,
    results: Results = Path("results"),
    reports: Annotated[Path, typer.Option(help="reports folder")] = Path("reports"),
    installation: Annotated[
        str | None, typer.Option(help="whose records; this checkout's or the newest if not given")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a suite from its records; the same records give the same bytes."""
    from harness.cli.reporting import write_report

    written = write_report(suite, results, reports, installation)
    if as_json:
        print_json({"files": [str(path) for path in written]}, None)
    else:
        print(f"report: {written[0]}")


@app.command("rows")
@over_files("reading the rows")
def rows_command(
    suite: Annotated[str | None, typer.Argument(metavar="[SUITE]", help="one suite; all of them if not given")] = None,
    results: Results = Path("results"),
    csv: Annotated[str | None, typer.Option(help="write CSV to this file, - for standard output")] = None,
    parquet: Annotated[Path | None, typer.Option(help="write Parquet to this file")] = None,
    as_json: AsJson = False,
) -> None:
    """Give the tidy rows of all records: one observed number with its coordinates each."""
    from harness.cli.tables import show_rows

    show_rows(results, suite, csv, parquet, as_json=as_json)


@app.command("export")
@over_files("the export")
def export_command(
    suite: SuiteName,
    wanted: Annotated[
        str, typer.Option("--format", help="pytest-benchmark, benchmark-action-smaller or benchmark-action-bigger")
    ],
    results: Results = Path("results"),
    installation: Annotated[
        str | None, typer.Option(help="whose records; this checkout's or the newest if not given")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write to this file instead of standard output")] = None,
) -> None:
    """Give a suite's latest numbers as JSON that pytest-benchmark and trackers of benchmarks read."""
    from harness.cli.exporting import export

    export(suite, wanted, results, installation, out)
