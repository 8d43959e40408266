"""The commands, each one a few lines: parse what was asked, call the layer that does it, show the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="harness",
    help="Benchmark and compare LLM training and compression techniques.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="a suite file, or the name of one in suites/")]
Results = Annotated[Path, typer.Option(help="results folder")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Isolation = Annotated[str, typer.Option(help="fork (from a preloaded server) or spawn (a new interpreter)")]


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

    made = planned(suite, results, isolation)
    if job_files is not None:
        typer.echo(f"wrote {write_jobs(made, job_files)} job files to {job_files}, numbered in the order to run them")
    elif as_json:
        typer.echo(json.dumps(made.to_dict(), indent=1))
    else:
        show_plan(made)


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
    report: Annotated[bool, typer.Option(help="write the report at the end")] = True,
    as_json: AsJson = False,
) -> None:
    """Run what a suite still lacks here, then show the table and write the report."""
    from harness.cli.running import run_one_job, run_suite
    from harness.errors import UsageError

    if (suite is None) == (job is None):
        raise UsageError("give a suite or --job FILE, one of the two")
    if job is not None:
        raise typer.Exit(run_one_job(job, as_json=as_json))
    assert suite is not None
    code = run_suite(
        suite, results=results, reports=reports if report else None, isolation=isolation, again=again, as_json=as_json
    )
    raise typer.Exit(code)


@app.command("report")
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
        typer.echo(json.dumps({"files": [str(path) for path in written]}))
    else:
        typer.echo(f"report: {written[0]}")


@app.command("rows")
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


@app.command("claims")
def claims_command(
    results: Annotated[Path, typer.Argument(metavar="[RESULTS]", help="results folder")] = Path("results"),
    claims: Annotated[list[Path] | None, typer.Option(help="a file of claims of your own; may be repeated")] = None,
    suite: Annotated[list[str] | None, typer.Option(help="judge by this suite's records alone; repeatable")] = None,
    report: Annotated[bool, typer.Option("--report", help="write the page too")] = False,
    reports: Annotated[Path, typer.Option(help="reports folder")] = Path("reports"),
    as_json: AsJson = False,
) -> None:
    """Set published claims beside what the records say, each with a verdict."""
    from harness.cli.claims import show_claims

    raise typer.Exit(show_claims(results, claims or [], suite, reports if report else None, as_json))


@app.command("predict")
def predict_command(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="a method as suites write it: 'lora > int8'")],
    model: Annotated[
        str, typer.Option(help="a model as suites name it, a published shape (llama-65b) or a config.json")
    ] = "embedded",
    batch: Annotated[int, typer.Option(min=1, help="sequences per optimiser step")] = 8,
    sequence: Annotated[int, typer.Option(min=2, help="tokens per sequence")] = 256,
    precision: Annotated[str, typer.Option(help="compute precision")] = "fp32",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    ranks: Annotated[int, typer.Option(min=1, help="processes that train together")] = 1,
    memory: Annotated[str | None, typer.Option(help="say whether it fits, and exit with 1 if not: 48GB, 24GiB")] = None,
    as_json: AsJson = False,
) -> None:
    """Predict what a method takes in memory, by its model's configuration alone."""
    from harness.cli.predicting import show_prediction
    from harness.contract import Budget
    from harness.plan.sources import hardware

    where = hardware({"device": device, "devices": ranks if device == "cuda" else 1, "ranks": ranks})
    budget = Budget(steps=1, batch_size=batch, sequence_length=sequence)
    raise typer.Exit(show_prediction(method, model, budget, precision, where, memory, as_json=as_json))


@app.command("choose")
def choose_command(
    suite: Annotated[str, typer.Argument(metavar="[SUITE]", help="the suite whose records decide")] = "quick",
    memory: Annotated[str | None, typer.Option(help="at most so much memory: 8GB, 24GiB")] = None,
    max_quality_loss: Annotated[str | None, typer.Option(help="at most so much worse than the best: 2%")] = None,
    time: Annotated[str | None, typer.Option(help="made in at most: 90s, 20min, 1h")] = None,
    goal: Annotated[str, typer.Option(help="what to rank by: quality, speed or memory")] = "quality",
    hardware: Annotated[str | None, typer.Option(help="measured on cpu or cuda")] = None,
    model: Annotated[str | None, typer.Option(help="the suite's model, where it has several")] = None,
    quality: Annotated[str | None, typer.Option(help="task or metric of quality, where there are several")] = None,
    extrapolate_to: Annotated[
        str | None, typer.Option(help="predict the memory for this model instead: llama-3-8b, ./config.json")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="sequences of that prediction")] = 8,
    sequence: Annotated[int, typer.Option(min=2, help="tokens of each of them")] = 256,
    results: Results = Path("results"),
    report: Annotated[bool, typer.Option("--report", help="write the page with the decision form too")] = False,
    reports: Annotated[Path, typer.Option(help="reports folder")] = Path("reports"),
    as_json: AsJson = False,
) -> None:
    """Say which method to use under constraints, which are tied, which miss by how much, and what would change that."""
    from harness.cli.choosing import Asked, show_choice

    asked = Asked(
        suite, memory, max_quality_loss, time, goal, model, hardware, quality, extrapolate_to, batch, sequence
    )
    raise typer.Exit(show_choice(asked, results, reports if report else None, as_json=as_json))


@app.command("try")
def try_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a folder, embedded or hub:org/name")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="a file of text, JSON lines, CSV or Parquet")],
    memory: Annotated[str | None, typer.Option(help="at most so much memory: 8GB, 24GiB")] = None,
    max_quality_loss: Annotated[str | None, typer.Option(help="at most so much worse than the best: 2%")] = None,
    time: Annotated[str | None, typer.Option(help="made in at most: 90s, 20min, 1h")] = None,
    goal: Annotated[str, typer.Option(help="what to rank by: quality, speed or memory")] = "quality",
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps of each training")] = 50,
    batch: Annotated[int, typer.Option(min=1, help="sequences per step")] = 8,
    sequence: Annotated[int, typer.Option(min=2, help="tokens per sequence")] = 128,
    results: Results = Path("results"),
    reports: Annotated[Path, typer.Option(help="reports folder")] = Path("reports"),
    dry: Annotated[bool, typer.Option("--dry", help="write the suite and stop")] = False,
) -> None:
    """Measure what comes into question for a model and a file, and say which method to use."""
    from harness.cli.choosing import Asked
    from harness.cli.trying import try_on

    asked = Asked("", memory, max_quality_loss, time, goal, None, None, None, None, batch, sequence)
    raise typer.Exit(try_on(asked, model, data, results, reports, steps=steps, dry=dry))


StoreUrl = Annotated[
    str | None, typer.Option("--store", help="where nights are kept: a folder or s3://bucket/prefix; else the results")
]
Accepted = Annotated[Path | None, typer.Option(help="accepted changes; RESULTS/accepted.yaml if not given")]
Junit = Annotated[Path | None, typer.Option(help="write the verdicts as JUnit XML")]
Markdown = Annotated[Path | None, typer.Option(help="write them as Markdown")]
Annotations = Annotated[bool, typer.Option("--annotations", help="print workflow annotations")]
Strict = Annotated[bool, typer.Option("--strict", help="exit with 4 where there is too little to tell")]


@app.command("nightly")
def nightly_command(
    suite: SuiteName,
    results: Results = Path("results"),
    store: StoreUrl = None,
    accepted: Accepted = None,
    reports: Annotated[Path, typer.Option(help="reports folder")] = Path("reports"),
    report: Annotated[bool, typer.Option(help="write the report at the end")] = True,
    isolation: Isolation = "fork",
    junit: Junit = None,
    markdown: Markdown = None,
    annotations: Annotations = False,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Measure a suite once more, keep the night, and say what became worse; a stopped night is gone on with."""
    from harness.cli.judging import Outputs, Sources
    from harness.cli.nightly import nightly

    outputs = Outputs(reports if report else None, junit, markdown, annotations, as_json, strict)
    raise typer.Exit(nightly(suite, Sources(results, store, accepted), outputs, isolation))


@app.command("history")
def history_command(
    suite: SuiteName,
    results: Results = Path("results"),
    store: StoreUrl = None,
    accepted: Accepted = None,
    reports: Annotated[Path, typer.Option(help="reports folder")] = Path("reports"),
    report: Annotated[bool, typer.Option("--report", help="write the suite's report too")] = False,
    junit: Junit = None,
    markdown: Markdown = None,
    annotations: Annotations = False,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Judge the nights that are kept: which series changed, since when, and what changed with them."""
    from harness.cli.history import show_history
    from harness.cli.judging import Outputs, Sources

    outputs = Outputs(reports if report else None, junit, markdown, annotations, as_json, strict)
    raise typer.Exit(show_history(suite, Sources(results, store, accepted), outputs))


@app.command("accept")
def accept_command(
    series: Annotated[str, typer.Argument(metavar="SERIES", help="the series' id, or how it begins")],
    reason: Annotated[str, typer.Option(help="why the change is good")],
    days: Annotated[int, typer.Option(min=1, help="for how long")] = 90,
    suite: Annotated[str | None, typer.Option(help="look for the series in this suite alone")] = None,
    results: Results = Path("results"),
    store: StoreUrl = None,
    accepted: Accepted = None,
) -> None:
    """Accept a change that is real and wanted, in a file that is reviewed with the code."""
    from harness.cli.history import accept
    from harness.cli.judging import Sources

    what, path = accept(series, suite, reason, days, Sources(results, store, accepted))
    typer.echo(f"{path}: {what}")


@app.command("compare")
def compare_command(
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="a results folder, or conditions: 'commit=1a2b3c;precision=fp32'")
    ],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="the other side: 'method=int4', 'library.torch=2.13.0'")],
    suite: Annotated[str | None, typer.Option(help="compare the records of this suite alone")] = None,
    results: Results = Path("results"),
    junit: Junit = None,
    markdown: Markdown = None,
    annotations: Annotations = False,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Compare two selections of records: what is worse, what is better, and what could not have been told."""
    from harness.cli.comparing import show_comparison
    from harness.cli.judging import Outputs

    outputs = Outputs(None, junit, markdown, annotations, as_json, strict)
    raise typer.Exit(show_comparison(base, head, suite, results, outputs))


@app.command("gate")
def gate_command(
    suite: SuiteName,
    base: Annotated[str, typer.Option(help="git ref of what is good; . is the working tree")],
    head: Annotated[str, typer.Option(help="git ref of what is asked about; . is the working tree")],
    pairs: Annotated[int, typer.Option(min=1, help="runs of each side; below 10 no verdict on times")] = 10,
    base_python: Annotated[str | None, typer.Option(help="interpreter of another environment for base")] = None,
    head_python: Annotated[str | None, typer.Option(help="interpreter of another environment for head")] = None,
    same_environment: Annotated[
        bool, typer.Option("--same-environment", help="run both here, although they ask for other packages")
    ] = False,
    seed: Annotated[int, typer.Option(help="draws which side of a pair runs first")] = 0,
    results: Results = Path("results"),
    junit: Junit = None,
    markdown: Markdown = None,
    annotations: Annotations = False,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Run a suite at two commits in turns and say whether the second is worse; a stopped gate is gone on with."""
    from harness.cli.gating import Asked, gate
    from harness.cli.judging import Outputs

    asked = Asked(
        suite, {"base": base, "head": head}, {"base": base_python, "head": head_python}, pairs, seed, results,
        same_environment,
    )  # fmt: skip
    raise typer.Exit(gate(asked, Outputs(None, junit, markdown, annotations, as_json, strict)))


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Show every technique and task with its parameters, defaults and source."""
    from harness.cli.listing import describe_all, show_listing

    found = describe_all()
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        show_listing(found)


@app.command("doctor")
def doctor_command(as_json: AsJson = False) -> None:
    """Say what this machine can run, and how to get the rest."""
    from harness.cli.doctor import examine, show_doctor

    found = examine()
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        show_doctor(found)


@app.command("selftest")
def selftest_command(
    repeats: Annotated[int, typer.Option(min=2, help="how often everything is measured")] = 10,
    results: Results = Path("results"),
    isolation: Isolation = "fork",
    as_json: AsJson = False,
) -> None:
    """Measure one small suite again and again: this machine's noise, the meter's overhead, the launcher's share."""
    from harness.cli.selftest import show_self_test

    raise typer.Exit(show_self_test(results, repeats, isolation, as_json=as_json))


environments_app = typer.Typer(help="List, make and remove the environments of packages that cannot live together.")
app.add_typer(environments_app, name="env", no_args_is_help=True)
EnvironmentNames = Annotated[list[str], typer.Argument(metavar="NAME...", help="environments, or 'all'")]


@environments_app.command("list")
def env_list_command(as_json: AsJson = False) -> None:
    """Show every environment: whether it is set up, for which techniques it is, and what is pinned in it."""
    from harness.cli.environments import described, show_environments

    found = described()
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        show_environments(found)


@environments_app.command("sync")
def env_sync_command(names: EnvironmentNames) -> None:
    """Make environments as they are defined; one that is as defined is left alone."""
    from harness.cli.environments import sync_all

    sync_all(names)


@environments_app.command("remove")
def env_remove_command(names: EnvironmentNames) -> None:
    """Remove environments."""
    from harness.cli.environments import remove_all

    remove_all(names)


@app.command("prepare")
def prepare_command(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="where to write the prepared splits (a .zip)")],
    suite: Annotated[
        str | None, typer.Option(help="prepare the data of this suite; the embedded default if not given")
    ] = None,
    data: Annotated[str | None, typer.Option(help="which of the suite's data sets, where it has several")] = None,
) -> None:
    """Write prepared splits to one file, so that a machine without the data's package can run too."""
    from harness.cli.planning import data_specs
    from harness.data import prepare

    typer.echo(f"wrote {prepare(_only(data_specs(suite), data), out)}")


def _only(specs: dict[str, Any], asked: str | None) -> Any:
    from harness.errors import UsageError, did_you_mean

    if asked is None and len(specs) == 1:
        return next(iter(specs.values()))
    if asked is None:
        raise UsageError(f"the suite has several data sets; name one with --data: {', '.join(specs)}")
    if asked not in specs:
        raise UsageError(f"the suite has no data set '{asked}'{did_you_mean(asked, specs)}")
    return specs[asked]
