"""How a fetch from the hub goes on: a bar on a terminal, elsewhere one line for each file that is here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness.cli.terminal import print, shown
from harness.hub.fetching import Silent, Watcher
from harness.memory.units import in_words


@contextmanager
def watching(quiet: bool) -> Iterator[Watcher]:
    """Give a watcher that shows on standard error what it is told."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
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
