"""The verdicts of a gate: the same suite measured at base and head in interleaved pairs, every number of every step.

Pure functions over the records of pairs. What repeats to the bit within each side is compared exactly; everything else
by the differences within pairs (``harness.analyse.alarm``): logarithms of ratios, or plain differences of shares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy

from harness.analyse.accepted import Acceptance
from harness.analyse.alarm import BLIND, FEWEST_PAIRS, bar, verdict
from harness.analyse.case import Case, Status
from harness.analyse.series import Watching
from harness.analyse.sides import CELL, Cell, gone, matched, value_of
from harness.analyse.significance import shift, smallest_detectable
from harness.analyse.watched import WATCHED, Watched
from harness.results.nights import entry_of
from harness.results.record import Record, disturbed

SAME_CODE = frozenset({"commit"})


@dataclass(frozen=True)
class Pair:
    """What one run of each side left, one right after the other."""

    number: int
    base: tuple[Record, ...]
    head: tuple[Record, ...]


@dataclass(frozen=True)
class Judgement:
    """The cases; ``suspected`` are those that ask for as many pairs again; ``added`` counts the head's own cells.

    ``failed`` counts the cells that the base never got done, ``both`` those of them that the head did not either.
    """

    cases: tuple[Case, ...]
    suspected: tuple[Case, ...]
    added: int
    failed: int = 0
    both: int = 0


def judge(first: Sequence[Pair], again: Sequence[Pair] = ()) -> Judgement:
    """Judge every number; without ``again`` what looks worse is a suspicion and no regression yet."""
    pairs = [*first, *again]
    base, head = ([record for pair in pairs for record in getattr(pair, side)] for side in ("base", "head"))
    number = {id(record): pair.number for pair in pairs for record in (*pair.base, *pair.head)}
    cases: list[Case] = []
    suspected: list[Case] = []
    added = failed = both = 0
    watching = Watching.of([entry_of(record) for record in base])
    for cell in matched(base, head, SAME_CODE):
        added += not cell.base
        if cell.base and not cell.done("base"):
            failed, both = failed + 1, both + (not cell.done("head"))
        for numbers in _numbers(cell, watching, number, {pair.number for pair in again}, cases):
            case, open_question = numbers.judged()
            cases.append(case)
            suspected += [case] if open_question else []
    return Judgement(tuple(cases), tuple(suspected), added, failed, both)


def excused(judged: Judgement, accepted: Sequence[Acceptance], today: str) -> Judgement:
    """The judgement with what somebody accepted told as accepted, and not asked about again; ``today`` is ISO."""
    told = tuple(_accepted(one, accepted, today) for one in judged.cases)
    open_ones = tuple(one for one in judged.suspected if _accepted(one, accepted, today) is one)
    return replace(judged, cases=told, suspected=open_ones)


def _accepted(case: Case, accepted: Sequence[Acceptance], today: str) -> Case:
    for one in accepted:
        if case.status == "missing" and one.series == case.id and one.after is None and one.holds(today):
            return replace(case, status="accepted", why=f"its disappearance was {one.in_words()}")
        levels = case.before, case.after
        if case.status == "regression" and levels[0] is not None and levels[1] is not None and one.covers(
            case.id, WATCHED[case.metric], levels[0], levels[1], today
        ):  # fmt: skip
            return replace(case, status="accepted", why=one.in_words())
    return case


def lacking(pairs: Sequence[Pair], wanted: int) -> int:
    """How many more pairs it takes until every step has ``wanted`` in which nothing else used the machine."""
    base, head = ([record for pair in pairs for record in getattr(pair, side)] for side in ("base", "head"))
    number = {id(record): pair.number for pair in pairs for record in (*pair.base, *pair.head)}
    counts = []
    for cell in matched(base, head, SAME_CODE):
        well = [{number[id(record)] for record in cell.done(side)} for side in ("base", "head")]
        spoiled = {number[id(record)] for record in (*cell.base, *cell.head) if disturbed(record)}
        if well[0] & well[1]:
            counts.append(len((well[0] & well[1]) - spoiled))
    return max(0, wanted - min(counts, default=wanted))


@dataclass(frozen=True)
class _Numbers:
    """One number of one cell: (base, head) of every pair in which both were done, first and measured again."""

    cell: Cell
    watched: Watched
    first: tuple[tuple[float, float], ...]
    again: tuple[tuple[float, float], ...]
    looked_again: bool

    def judged(self) -> tuple[Case, bool]:
        """The case, and whether it needs more pairs."""
        every = (*self.first, *self.again)
        exact = len({one for one, _ in every}) == 1 == len({other for _, other in every})
        if self.watched.kind == "exact" or (self.watched.kind == "quality" and exact and len(every) > 1):
            return self._exactly(), False
        if self.watched.kind == "quality" and exact and every[0][0] == every[0][1]:
            return self._case("pass", "the same"), False
        relative = not self.watched.absolute and all(value > 0 for pair in every for value in pair)
        before = float(numpy.median([one for one, _ in every]))
        unit = 1.0 if relative or self.watched.absolute else abs(before) or 1.0
        first, again = (_differences(part, relative, unit) for part in (self.first, self.again))
        smallest = math.log1p(self.watched.smallest) if relative else self.watched.smallest
        blind = math.log1p(BLIND) if relative else BLIND
        sign = self._worse_is()
        found = verdict([sign * value for value in first], [sign * value for value in again], smallest, blind)
        if found == "suspected" and self.looked_again:
            found = "few"
        alone = found in ("same", "blind") or len(first) < FEWEST_PAIRS  # what came later was for other numbers
        told = replace(self, again=()) if alone else self
        every_one = first if alone else [*first, *again]
        used = again if found == "worse" else every_one
        numbers = _in_shares(used, every_one, bar(every_one, smallest), relative, before / unit)
        status, why = told._in_words(found, numbers.pop("bar"))
        return told._case(status, why, numbers), found == "suspected"

    def _exactly(self) -> Case:
        """Compare what repeats within each side, or the medians of facts that should."""
        before, after = self._levels()
        change = None if before == 0 else after / before - 1
        runs = f"in {len(self.first) + len(self.again)} runs of each side"
        if before == after:
            return self._case("pass", f"the same {runs}")
        if not self.watched.counts(before, after):
            return self._case("pass", f"differs by less than counts {runs}", {"change": change})
        worse = self.watched.worse(before, after)
        words = "differs" if self.watched.direction == "none" else "worse" if worse else "better"
        return self._case("regression" if worse else "improvement", f"{words} {runs}", {"change": change})

    def _worse_is(self) -> int:
        """1 where more is worse, -1 where less is; of a fact without a better side, whichever way it moved."""
        if self.watched.direction == "none":
            return 1 if numpy.median([other - one for one, other in self.first]) >= 0 else -1
        return 1 if self.watched.direction == "lower" else -1

    def _in_words(self, found: str, bar: float | None) -> tuple[Status, str]:
        pairs, more = len(self.first), len(self.again)
        few = pairs if pairs < FEWEST_PAIRS else f"looks worse in {pairs}, and then came {more}"
        seen = "" if bar is None else f"; an alarm would take more than {bar:.1%}"
        told: dict[str, tuple[Status, str]] = {
            "few": ("insufficient", f"{few} undisturbed pairs of runs; a verdict takes {FEWEST_PAIRS}"),
            "suspected": ("regression", f"looks worse in {pairs} pairs of runs, and was not measured again"),
            "worse": ("regression", f"worse in {pairs} interleaved pairs of runs, and in {more} more"),
            "not confirmed": ("pass", f"looked worse in {pairs} pairs of runs, and did not in {more} more"),
            "better": ("improvement", f"better in {pairs} interleaved pairs of runs{f' and {more} more' * bool(more)}"),
            "blind": ("insufficient", f"too noisy: a change of {BLIND:.0%} could pass unseen"),
            "same": ("pass", f"no clear difference in {pairs} interleaved pairs of runs{seen}"),
        }
        return told[found]

    def _case(self, status: Status, why: str, numbers: dict[str, float | None] | None = None) -> Case:
        before, after = self._levels()
        return self.cell.case(self.watched.metric, status, why, before=before, after=after, **(numbers or {}))

    def _levels(self) -> tuple[float, float]:
        every = numpy.asarray((*self.first, *self.again))
        return float(numpy.median(every[:, 0])), float(numpy.median(every[:, 1]))


def _numbers(
    cell: Cell, watching: Watching, number: dict[int, int], again: set[int], cases: list[Case]
) -> Iterable[_Numbers]:
    """Every number of a cell that can be judged; what stands in the way of the others becomes a case."""
    ended, entry = _ended(cell, number), cell.entry()
    metrics = [name for name in cell.metrics() if watching.has(entry, name)]
    if ended is not None:
        # What is gone is gone from each of its series, as it is over nights: each can be accepted there and here.
        cases += [cell.case(name, *ended) for name in (metrics if metrics and ended[0] == "missing" else (CELL,))]
        return
    sides = [{number[id(record)]: record for record in cell.done(side)} for side in ("base", "head")]
    both = sorted(set(sides[0]) & set(sides[1]))
    spoiled = {number[id(record)] for record in (*cell.base, *cell.head) if disturbed(record)}
    if not both and all(sides):
        cases.append(cell.case(CELL, "insufficient", "no pair of runs in which both sides are done"))
    for name in metrics if both else ():
        values = {pair: tuple(value_of(side[pair], name) for side in sides) for pair in both}
        if any(one is not None and other is None for one, other in values.values()):
            cases.append(cell.case(name, "missing", "its step is done and no longer gives this number"))
            continue
        left = spoiled if WATCHED[name].kind == "time" else set()
        whole = {pair: (one, other) for pair, (one, other) in values.items() if one is not None and other is not None}
        parts = ([each for pair, each in whole.items() if pair not in left and (pair in again) == later]
                 for later in (False, True))  # fmt: skip
        first, more = map(tuple, parts)
        if whole and not first:
            why = f"something else used the machine in each of {len(whole)} pairs of runs"
            cases.append(cell.case(name, "insufficient", "no undisturbed pair among the first" if more else why))
        if first:
            yield _Numbers(cell, WATCHED[name], first, more, bool(again))


def _ended(cell: Cell, number: dict[int, int]) -> tuple[Status, str] | None:
    """Why no number of a cell can be judged: it is gone, failed at head, or stands on other hard facts."""
    lost = gone(cell)
    if lost is not None:
        return lost
    if cell.hard:
        return "refused", f"other hard facts: {'; '.join(cell.hard)}"
    well = {number[id(record)] for record in cell.done("base")}
    failed = [one for one in cell.head if one["status"] != "done" and number[id(one)] in well]
    if failed:
        last = failed[-1]
        return "errored", f"in {len(failed)} of {len(well)} runs {last['status']}: {last['reason']}"
    return None


def _differences(pairs: Sequence[tuple[float, float]], relative: bool, unit: float) -> list[float]:
    return [math.log(other / one) if relative else (other - one) / unit for one, other in pairs]


def _in_shares(
    used: Sequence[float], every: Sequence[float], needed: float, relative: bool, before: float
) -> dict[str, float | None]:
    """The estimate and its interval by the pairs ``used``, the smallest detectable change of ``every`` pair, and under
    ``bar`` what a change must exceed to be an alarm; all as shares of the value before.
    """
    found = shift(used)
    numbers = {
        "change": None if found is None else found.estimate, "low": None if found is None else found.low,
        "high": None if found is None else found.high, "smallest": smallest_detectable(every),
        "bar": needed if needed < math.inf else None,
    }  # fmt: skip
    if relative:
        return {name: None if value is None else math.expm1(value) for name, value in numbers.items()}
    return {name: value / before if before > 0 and value is not None else None for name, value in numbers.items()}
