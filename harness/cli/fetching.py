"""Fetching from the hub, and how that goes on: a bar on a terminal, elsewhere one line for each file that is here."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from harness.cli.terminal import print, print_error, shown
from harness.errors import UsageError
from harness.hub.fetching import Fetch, Silent, Watcher, fetch_model
from harness.memory.units import in_words
from harness.plan.sources import DataSource, ModelSource

Source = ModelSource | DataSource
Spec = Mapping[str, Any]


def fetch_all(wanted: Sequence[tuple[Source, Spec]], *, quiet: bool = False) -> None:
    """Fetch models and data sets, all that can be had; then one line for each that could not, as a ``UsageError``.

    A specification with a commit is fetched at that; one without at what its revision names at the hub now.
    """
    if not wanted:
        return
    from huggingface_hub.utils import logging as of_the_client

    of_the_client.set_verbosity(logging.ERROR)  # its warnings hold addresses with signatures; what matters is told here
    failed = []
    with watching(quiet) as watcher:
        for source, spec in wanted:
            try:
                found = _fetched(source, spec, watcher)
            except UsageError as error:
                failed.append(error)
                continue
            if found is not None and not quiet:
                print(f"{found.what} is here, its files checked: commit {found.commit}", file=sys.stderr, flush=True)
    for other in failed[:-1]:
        print_error(other)
    if failed:
        raise failed[-1]


def _fetched(source: Source, spec: Spec, watcher: Watcher) -> Fetch | None:
    if isinstance(source, DataSource):
        from harness.data.hub import fetch

        return fetch(spec, watcher)
    return fetch_model(str(spec["id"]), revision_of(spec), watcher)


def revision_of(spec: Spec) -> str:
    """The commit that a specification means, or the name of one."""
    return str(spec.get("commit") or spec.get("revision") or "main")


@contextmanager
def watching(quiet: bool) -> Iterator[Watcher]:
    """Give a watcher that shows on standard error what it is told."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty() and find_spec("rich") is not None:
        with _Bar() as bar:
            yield bar
    else:
        yield _Lines()


class _Lines(Silent):
    """One line per file."""

    def file(self, what: str, name: str, size: int) -> None:
        """Say what is here."""
        print(f"  {what}: {name}, {in_words(size)}", file=sys.stderr, flush=True)


class _Bar:
    """A bar of bytes on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        self.progress = Progress(
            BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn(),
            TextColumn("{task.description}", markup=False), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self.task = self.progress.add_task("asking the hub", total=0)
        self.total = 0

    def __enter__(self) -> _Bar:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, what: str, files: int, size: int) -> None:
        """The bar grows by what is to come."""
        self.total += size
        self.progress.update(self.task, total=self.total, description=shown(f"{what}: {files} files"))

    def bytes(self, count: int) -> None:
        """The bar fills."""
        self.progress.advance(self.task, count)

    def file(self, what: str, name: str, size: int) -> None:
        """The next file is on its way."""
        self.progress.update(self.task, description=shown(f"{what}: {name} is here"))
