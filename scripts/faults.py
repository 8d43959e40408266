"""Run the fault suite in its long form, print its table with counts, and keep it in ``docs/faults.md``.

Some twenty minutes on two cores (``make faults``); ``--rounds 20`` is a rough look, ``--only launcher_killed`` one row.
Every row runs real sweeps of fake techniques in folders of their own; the rows themselves are in ``tests/faults/rows``.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
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


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


def breaches(found: dict[str, Any]) -> str:
    """What did not hold, row by row; where a row has many, the first of them."""
    lines = []
    for name, tally in found.items():
        if tally.breaches:
            lines += ["", f"### {rows()[name].fault}", "", *(f"- {text}" for text in tally.breaches[:BREACHES_SHOWN])]
            if len(tally.breaches) > BREACHES_SHOWN:
                lines.append(f"- and {len(tally.breaches) - BREACHES_SHOWN} more")
    return "\n".join(lines).strip() or "None."


def main() -> int:
    """Run, print and keep; the exit status is 1 where anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help="at most so many of each row")
    parser.add_argument("--only", action="append", choices=list(rows()), help="this row alone; may be repeated")
    parser.add_argument("--no-write", action="store_true", help="print only")
    asked = parser.parse_args()
    began = time.monotonic()
    names = asked.only or list(rows())
    # Those that take long first, so that both processes end at about the same time.
    tasks = sorted(((name, asked.rounds) for name in names), key=lambda task: -WEIGHTS.get(task[0], 1))
    found: dict[str, Any] = {}
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        together = [task for task in tasks if not rows()[task[0]].alone]
        alone = [task for task in tasks if task not in together]
        for name, tally in itertools.chain(pool.map(one, together), map(one, alone)):
            found[name] = tally
            print(f"{name}: {tally.held} of {tally.tried} in {tally.seconds:.0f} s", file=sys.stderr, flush=True)
    found = {name: found[name] for name in names}
    facts, software = machine_facts(), soft_facts()
    text = PAGE.format(
        table=table(HEAD, [told(rows()[name], tally) for name, tally in found.items()]), breaches=breaches(found),
        tried=sum(tally.tried for tally in found.values()), held=sum(tally.held for tally in found.values()),
        machine=f"{facts['cpu_model']}, {facts['cores']} cores, {facts['memory_gib']:g} GiB, "
                f"{software['system']} {software['kernel']}, Python {software['python']}",
        seed=SEED, minutes=f"{(time.monotonic() - began) / 60:.0f}",
    )  # fmt: skip
    print(text)
    if not asked.no_write and not asked.only and asked.rounds is None:
        OUT.write_text(text)
    return int(any(tally.breaches for tally in found.values()))


WEIGHTS = {
    "launcher_killed": 9, "worker_killed": 8, "interrupted_anywhere": 7, "killed_reports": 6, "flipped_bits": 5,
    "eight_launchers": 5, "hangs": 5, "server_killed": 4, "many_steps": 4, "disk_full_of_reports": 3,
}  # fmt: skip
HEAD = ["Fault", "Must hold", "Tried", "Held", "Seconds", "Found"]
PAGE = """# Faults

Written by `make faults`: real sweeps of fake techniques are killed, starved and confused, and what must hold is
counted. Each row is a function in `tests/faults/rows`; `make test` runs a short form of each, `make test-all` the long
one. {tried} tries, {held} of them held, in {minutes} minutes. Machine: {machine}. Random moments and bits are drawn
with seed {seed}.

{table}

## What did not hold

{breaches}
"""


if __name__ == "__main__":
    sys.exit(main())
