"""Run the fault suite in its long form, print its table with counts, and keep it in ``docs/faults.md``.

Some twenty minutes on two cores (``make faults``); ``--rounds 20`` is a rough look. ``--only quiet`` runs one row anew
and puts it in place of what the page has of it: that one counts on a quiet machine alone.
Every row runs real sweeps of fake techniques in folders of their own; the rows themselves are in ``tests/faults/rows``.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.run.environment import machine_facts, soft_facts

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

OUT = ROOT / "docs" / "faults.md"
SEED = 9
PROCESSES = 2
BREACHES_SHOWN = 20


def rows() -> dict[str, Any]:
    """Every row by its name, in the order of the table."""
    from faults.rows import ALL  # type: ignore[import-not-found]

    return dict(ALL)


def one(task: tuple[str, int | None]) -> tuple[str, Any]:
    """Run a row so many rounds at most, in a world of its own."""
    from faults.tally import Tally, new_world  # type: ignore[import-not-found]

    name, most = task
    row = rows()[name]
    try:
        with new_world(SEED) as world:
            return name, row.run(world, row.long if most is None else min(most, row.long))
    except Exception as error:
        return name, Tally(breaches=[f"the row itself ended with {type(error).__name__}: {error}"])


def told(row: Any, tally: Any) -> list[str]:
    """A line of the table."""
    held = f"{tally.held}" if not tally.breaches else f"**{tally.held}**"
    return [row.fault, row.must, str(tally.tried), held, f"{tally.seconds:.0f}", "; ".join(tally.notes)]


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


def breaches(tally: Any) -> list[str]:
    """What did not hold in a row; where that is much, the first of it."""
    more = len(tally.breaches) - BREACHES_SHOWN
    return [f"- {text}" for text in tally.breaches[:BREACHES_SHOWN]] + ([f"- and {more} more"] if more > 0 else [])


@dataclass
class Page:
    """What ``docs/faults.md`` says: the cells of each row by its fault, and what did not hold in it."""

    machine: str
    lines: dict[str, list[str]] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Page:
        """The page as it was written."""
        machine = re.search(r"Machine: (.*?)\. Random", text, re.DOTALL)
        found = cls(" ".join(machine[1].split()) if machine else "")
        above, _, below = text.partition("## What did not hold")
        for line in above.splitlines():
            cells = line.strip("| ").split(" | ") if line.startswith("| ") else []
            if cells and cells[0] not in (HEAD[0], "---"):
                found.lines[cells[0]] = [*cells, *[""] * (len(HEAD) - len(cells))]
        for part in below.split("### ")[1:]:
            fault, *rest = part.splitlines()
            found.wrong[fault] = [line for line in rest if line]
        return found

    def put(self, row: Any, tally: Any, *, afterwards: bool) -> None:
        """Enter how a row went, in place of what is there of it."""
        cells = told(row, tally)
        if afterwards:
            cells[-1] = "; ".join(filter(None, [cells[-1], "run by itself afterwards"]))
        self.lines[row.fault], self.wrong[row.fault] = cells, breaches(tally)

    def text(self, order: Iterable[str]) -> str:
        """The page, its rows in that order."""
        lines = [self.lines[fault] for fault in order if fault in self.lines]
        tried, held, seconds = (sum(int(line[at].strip("*")) for line in lines) for at in (2, 3, 4))
        wrong = [f"### {line[0]}\n\n" + "\n".join(self.wrong[line[0]]) for line in lines if self.wrong.get(line[0])]
        return PAGE.format(
            table=table(HEAD, lines), breaches="\n\n".join(wrong) or "None.", tried=tried, held=held,
            machine=self.machine, seed=SEED, minutes=f"{seconds / 60:.0f}",
        )  # fmt: skip


def measured(names: Sequence[str], rounds: int | None) -> Iterator[tuple[str, Any]]:
    """How the rows went, two at a time and then those that want the machine for themselves."""
    # Those that take long first, so that both processes end at about the same time.
    tasks = sorted(((name, rounds) for name in names), key=lambda task: -WEIGHTS.get(task[0], 1))
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        together = [task for task in tasks if not rows()[task[0]].alone]
        alone = [task for task in tasks if task not in together]
        yield from itertools.chain(pool.map(one, together), map(one, alone))


def main() -> int:
    """Run, print and keep; the exit status is 1 where anything did not hold, 2 for a row of another machine's page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help="at most so many of each row; nothing is kept")
    parser.add_argument("--only", action="append", choices=list(rows()), help="this row anew; may be repeated")
    parser.add_argument("--no-write", action="store_true", help="print only")
    asked = parser.parse_args()
    facts, software = machine_facts(), soft_facts()
    page = Page(
        f"{facts['cpu_model']}, {facts['cores']} cores, {facts['memory_gib']:g} GiB, "
        f"{software['system']} {software['kernel']}, Python {software['python']}"
    )
    keep = not asked.no_write and asked.rounds is None
    if asked.only and keep:
        kept = Page.read(OUT.read_text())
        if kept.machine != page.machine:
            print(f"{OUT} tells of another machine ({kept.machine}): run all rows, or --no-write", file=sys.stderr)
            return 2
        page = kept
    good = True
    for name, tally in measured(asked.only or list(rows()), asked.rounds):
        print(f"{name}: {tally.held} of {tally.tried} in {tally.seconds:.0f} s", file=sys.stderr, flush=True)
        if asked.only and not tally.tried:
            print(f"{name}: the page keeps what it has: {'; '.join(tally.notes)}", file=sys.stderr)
            continue
        page.put(rows()[name], tally, afterwards=bool(asked.only))
        good = good and not tally.breaches
    text = page.text([row.fault for row in rows().values()])
    print(text)
    if keep:
        OUT.write_text(text)
    return int(not good)


WEIGHTS = {
    "launcher_killed": 9, "worker_killed": 8, "interrupted_anywhere": 7, "killed_reports": 6, "flipped_bits": 5,
    "eight_launchers": 5, "hangs": 5, "server_killed": 4, "many_steps": 4, "disk_full_of_reports": 3,
}  # fmt: skip
HEAD = ["Fault", "Must hold", "Tried", "Held", "Seconds", "Found"]
PAGE = """# Faults

Written by `make faults`: real sweeps of fake techniques are killed, starved and confused, and what must hold is
counted. Each row is a function in `tests/faults/rows`; `make test` runs a short form of each, `make test-all` the long
one. {tried} tries, {held} of them held; the rows took {minutes} minutes, two at a time. Machine: {machine}. Random
moments and bits are drawn with seed {seed}.

{table}

## What did not hold

{breaches}
"""


if __name__ == "__main__":
    sys.exit(main())
