"""``harness gate``: two states of the harness measured in turns, and whether the second is worse."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.cli.gate_facts import AGAIN, facts_of, never_done
from harness.cli.gate_sides import Known, check_packages, check_plans, origins, plug_ins, ready, suite_at
from harness.cli.gate_verdicts import keep
from harness.cli.terminal import print
from harness.errors import UsageError
from harness.results.inventory import GATES
from harness.results.record import utc_now
from harness.results.store import Store
from harness.run.launcher import terminable
from harness.run.pairs import SIDES, Ledger, Side, compile_code, measure, plan_of, records_of
from harness.run.supervise import Terminated

if TYPE_CHECKING:
    from harness.analyse.gate import Judgement, Pair
    from harness.cli.judging import Outputs, Sources


@dataclass(frozen=True)
class Asked:
    """What the command line asked for; refs and interpreters by side, at least one of the two for each."""

    suite: str
    refs: Mapping[str, str | None]
    pythons: Mapping[str, str | None]
    pairs: int
    seed: int
    sources: Sources
    same_environment: bool = False


@dataclass(frozen=True)
class Measured:
    """A gate that has its verdict."""

    suite: str
    judged: Judgement
    pairs: list[Pair]
    ledger: Ledger
    sides: Mapping[str, Known]


def gate(asked: Asked, outputs: Outputs) -> int:
    """Measure, judge and tell; the exit code, 130 or 143 where it was stopped."""
    from harness.cli.comparing import tell_cases

    Store(asked.sources.results).check_writable()
    try:
        with terminable():
            done = _measured(asked, quiet=outputs.as_json)
    except (KeyboardInterrupt, Terminated) as stop:
        print("stopped; the same command goes on where this one stopped", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    judged = done.judged
    if not judged.cases:
        done.ledger.finish()
        raise UsageError(f"suite '{done.suite}' gave no number that is watched, on either side{never_done(judged)}")
    keep(done.ledger.path.parent, done.suite, judged.cases)
    facts = facts_of(done.sides, done.pairs, judged, asked.seed)
    code = tell_cases(f"gate of {done.suite}", judged.cases, facts, outputs, hint=asked.sources.hint())
    done.ledger.finish()  # not before it is told: where a file cannot be written nothing need be measured again
    return code


def _measured(asked: Asked, *, quiet: bool) -> Measured:
    """Check what was asked for, and measure the pairs that are not there yet."""
    root, found = origins(asked.refs, asked.pythons)
    suite = suite_at(root, found["head"].state, asked.suite)
    if not asked.same_environment:
        check_packages(root, found)
    asked.sources.acceptances()  # whatever is wrong with the file is told before anything is measured
    with ready(root, found, suite) as known:
        about = {"suite": hashlib.sha256(suite.text.encode()).hexdigest()[:16], "seed": asked.seed,
                 **{side: known[side].about() for side in SIDES}, **plug_ins()}  # fmt: skip
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:6]
        names = "-".join(known[side].label for side in SIDES)
        folder = asked.sources.results.resolve() / GATES / f"{names}-{digest}"
        ledger = Ledger.open(folder / "pairs.json", about)
        sides = {side: replace(one.side, results=folder / side) for side, one in known.items()}
        for one in sides.values():
            compile_code(one)
        name = check_plans({side: plan_of(each) for side, each in sides.items()})
        judged, pairs = _judged(asked, sides, name, ledger, quiet=quiet)
        return Measured(name, judged, pairs, ledger, known)


def _judged(
    asked: Asked, sides: Mapping[str, Side], name: str, ledger: Ledger, *, quiet: bool
) -> tuple[Judgement, list[Pair]]:
    """Measure the pairs that are not there yet, and as many again where something looks worse."""
    from harness.analyse.alarm import FEWEST_PAIRS
    from harness.analyse.gate import Pair, excused, judge, lacking
    from harness.cli.comparing import counted

    accepted = asked.sources.acceptances()

    def pairs(numbers: Sequence[int]) -> list[Pair]:
        measure(sides, name, ledger, numbers, asked.seed, _Progress(numbers, ledger, quiet))
        return [
            Pair(number, *(tuple(records_of(sides[side], name, ledger.pairs[number][side])) for side in SIDES))
            for number in numbers
        ]

    def undisturbed(first: int) -> list[Pair]:
        """As many pairs as were asked for, and up to half as many more in place of disturbed ones."""
        after, last = first + asked.pairs, first + asked.pairs + asked.pairs // 2
        found = pairs(range(first, after))
        while asked.pairs >= FEWEST_PAIRS and after < last and (missing := lacking(found, asked.pairs)):
            further = range(after, min(last, after + missing))
            found, after = [*found, *pairs(further)], further.stop
        return found

    first = undisturbed(1)
    judged = excused(judge(first), accepted, utc_now())
    if not judged.suspected:
        return judged, first
    if not quiet:
        print(f"{counted(len(judged.suspected), 'number')} may be worse: {asked.pairs} pairs are measured again")
    again = undisturbed(AGAIN + 1)
    return excused(judge(first, again), accepted, utc_now()), [*first, *again]


class _Progress:
    """A line before each run, with a guess of the time that is left."""

    def __init__(self, numbers: Sequence[int], ledger: Ledger, quiet: bool) -> None:
        self._last, self._quiet = numbers[-1], quiet
        self._left = 2 * sum(number not in ledger.pairs for number in numbers)
        self._began, self._runs = time.monotonic(), 0

    def __call__(self, number: int, side: str) -> None:
        if not self._quiet:
            left = (time.monotonic() - self._began) / self._runs * (self._left - self._runs) if self._runs else None
            told = "" if left is None else f"  (about {left / 60:.0f} min left)"
            print(f"pair {number % AGAIN}/{self._last % AGAIN}: {side}{told}", flush=True)
        self._runs += 1
