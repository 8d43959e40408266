"""The command line's application and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.terminal import print

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"harness {version('llm-technique-harness')}")
        raise typer.Exit


@app.callback()
def before_a_command(
    plugin: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE_OR_FILE", help="add a technique or task that is not installed; repeatable"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Benchmark and compare LLM training and compression techniques."""
    for text in plugin or ():
        from harness.catalogue import plug_in

        plug_in(text)


SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="a suite file, or the name of one in suites/")]
Results = Annotated[Path, typer.Option(help="results folder")]
Remeasure = Annotated[
    int,
    typer.Option(
        min=0, max=3, envvar="HARNESS_REMEASURE", show_envvar=False,
        help="how often steps that other work disturbed are measured again",
    ),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Isolation = Annotated[str, typer.Option(help="fork (from a preloaded server) or spawn (a new interpreter)")]
