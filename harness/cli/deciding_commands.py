"""What answers a question: claims, predict, choose, try."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AsJson, Results, app
from harness.cli.untrusted import over_files


@app.command("claims")
@over_files("judging the claims")
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
@over_files("the choice")
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
