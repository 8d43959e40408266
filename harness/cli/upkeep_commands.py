"""The folder, the machine and what is installed: clean, list, doctor, selftest, env, prepare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AsJson, Isolation, Results, app
from harness.cli.terminal import print_json
from harness.cli.untrusted import over_files


@app.command("clean")
@over_files("cleaning")
def clean_command(
    suite: Annotated[str | None, typer.Argument(metavar="[SUITE]", help="what is of this suite alone")] = None,
    keep_attempts: Annotated[
        int | None, typer.Option(min=1, help="the last so many attempts of each step stay")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="only what is older, or was not used for longer, goes: 30d")
    ] = None,
    max_size: Annotated[str | None, typer.Option(help="no more goes than the folder is larger than that: 20GB")] = None,
    checkpoints_only: Annotated[
        bool, typer.Option("--checkpoints-only", help="checkpoints and artefacts alone, which can all be made again")
    ] = False,
    results: Results = Path("results"),
    reports: Annotated[
        list[Path] | None,
        typer.Option(help="a folder of reports, whose records stay; repeatable; reports if not given"),
    ] = None,
    really: Annotated[bool, typer.Option("--yes", help="remove it; without it nothing is removed")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a results folder holds and what would go under limits; no record that a report names ever goes."""
    from harness.cli.cleaning import Asked, clean

    asked = Asked(suite, keep_attempts, older_than, max_size, checkpoints_only)
    raise typer.Exit(clean(asked, results, reports or [Path("reports")], really=really, as_json=as_json))


@app.command("list")
def list_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="techniques, tasks or groups; if not given, all")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every technique and task with its parameters, defaults and source, or those that are named."""
    from harness.cli.listing import describe_all, show_listing

    found = describe_all(names or [])
    if as_json:
        print_json(found)
    else:
        show_listing(found)


@app.command("doctor")
def doctor_command(as_json: AsJson = False) -> None:
    """Say what this machine can run, and how to get the rest."""
    from harness.cli.doctor import examine, show_doctor

    found = examine()
    if as_json:
        print_json(found)
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
        print_json(found)
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
    what: Annotated[
        str,
        typer.Argument(metavar="SUITE|MODEL|FILE", help="a suite, a model like hub:org/name@main, or a .zip to write"),
    ],
    suite: Annotated[
        str | None, typer.Option(help="of a .zip: whose data is written; the embedded default if not given")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="of a .zip: which of the suite's data sets, where it has several")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Fetch all that a suite needs of the hub, so that measuring needs no network; or write its data to one file."""
    from harness.cli.preparing import prepare_file, prepare_model, prepare_suite
    from harness.errors import UsageError

    if what.endswith(".zip"):
        prepare_file(Path(what), suite, data)
    elif suite is not None or data is not None:
        raise UsageError(f"--suite and --data say what a .zip holds, and '{what}' is none")
    elif what.startswith("hub:"):
        prepare_model(what)
    else:
        prepare_suite(what, results)
