"""What sees that something became worse: nightly, history, accept, compare, gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AsJson, Isolation, Remeasure, Results, SuiteName, app
from harness.cli.terminal import print
from harness.cli.untrusted import over_files

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
    remeasure: Remeasure = 3,
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
    raise typer.Exit(nightly(suite, Sources(results, store, accepted), outputs, isolation, remeasure))


@app.command("history")
@over_files("the history")
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
@over_files("the history")
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
    print(f"{path}: {what}")


@app.command("compare")
@over_files("the comparison")
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
    base: Annotated[str | None, typer.Option(help="git ref of what is good; . is the working tree")] = None,
    head: Annotated[str | None, typer.Option(help="git ref of what is asked about; . is the working tree")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="runs of each side; below 10 no verdict on times")] = 10,
    base_python: Annotated[
        str | None, typer.Option(help="interpreter or environment of base; alone, the harness installed there runs")
    ] = None,
    head_python: Annotated[
        str | None, typer.Option(help="interpreter or environment of head; alone, the harness installed there runs")
    ] = None,
    same_environment: Annotated[
        bool, typer.Option("--same-environment", help="run both here, although they ask for other packages")
    ] = False,
    seed: Annotated[int, typer.Option(help="draws which side of a pair runs first")] = 0,
    results: Results = Path("results"),
    accepted: Accepted = None,
    junit: Junit = None,
    markdown: Markdown = None,
    annotations: Annotations = False,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Run a suite at two commits or in two environments in turns: is the second worse? A stopped gate goes on."""
    from harness.cli.gating import Asked, gate
    from harness.cli.judging import Outputs, Sources

    asked = Asked(
        suite, {"base": base, "head": head}, {"base": base_python, "head": head_python}, pairs, seed,
        Sources(results, None, accepted), same_environment,
    )  # fmt: skip
    raise typer.Exit(gate(asked, Outputs(None, junit, markdown, annotations, as_json, strict)))
