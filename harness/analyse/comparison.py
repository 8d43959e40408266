"""Two selections of records compared: every watched number that both have, corrected for how many there are.

Quality is compared paired over items (``harness.analyse.paired``), times over interleaved pairs of runs, facts exactly,
peaks of memory against their own noise. Where nothing can be said the case says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy

from harness.analyse.case import Case, Status
from harness.analyse.finding import Finding, wanted
from harness.analyse.findings import Scores, memory_of, quality_of, time_of
from harness.analyse.sides import CELL, Cell, gone, matched, on_shared_seeds, value_of
from harness.analyse.significance import holm
from harness.analyse.watched import FROM_REFERENCE, WATCHED, Watched
from harness.results.record import Record

ALPHA = 0.05
_FAMILY = {"time": "times"}
# Coordinates of which a fact without a better side (a number of parameters) is no regression when they are compared.
CHOSEN = frozenset({"method", "model", "data", "precision", "hardware", "seed"})
# What may be compared although the machines differ, and quality and facts alone then.
MACHINES = frozenset({"hardware", "environment"})


@dataclass(frozen=True)
class Comparison:
    """The cases; ``added`` counts cells of the head alone, ``left`` steps of the base that only its method takes.

    ``shared`` counts cells of which both sides have records, ``failed`` those that the base did not get done; ``apart``
    names the hard facts, each once, for which times and memory were left out.
    """

    cases: tuple[Case, ...]
    added: int
    left: int
    shared: int
    failed: int = 0
    apart: tuple[str, ...] = ()


def compare(base: Iterable[Record], head: Iterable[Record], compared: Collection[str] = ()) -> Comparison:
    """Compare two selections that differ in what ``compared`` names: coordinates, ``commit``, ``environment`` ..."""
    sides = (tuple(base), tuple(head))
    scores = Scores(*sides)
    cases: list[Case] = []
    found: list[Finding] = []
    apart: dict[str, None] = {}
    added = left = shared = failed = 0
    for cell in matched(*sides, {*compared, "seed"}):
        if not cell.base:
            added += 1
        elif not cell.head and "method" in compared and cell.place.operation != "eval":
            left += 1
        else:
            shared += bool(cell.head)
            failed += not cell.done("base")
            apart |= dict.fromkeys(["; ".join(cell.hard)] if cell.hard and MACHINES & set(compared) else [])
            found += _findings(cell, scores, compared, cases)
    cases += _judged(found, bool(CHOSEN & set(compared)))
    return Comparison(tuple(cases), added, left, shared, failed, tuple(apart))


def _findings(whole: Cell, scores: Scores, compared: Collection[str], cases: list[Case]) -> list[Finding]:
    """What is known of each number of a cell; what stands in the way becomes a case."""
    lost = gone(whole)
    if lost is not None:
        cases.append(whole.case(CELL, *lost))
    if lost is not None or not whole.done("base"):
        return []
    differ = "; ".join(whole.hard)
    if differ and not MACHINES & set(compared):
        cases.append(whole.case(CELL, "refused", f"other hard facts: {differ}"))
        return []
    cell, lacking = (whole, []) if "seed" in compared else on_shared_seeds(whole)
    cases += [seed.case(CELL, *why) for seed in lacking if (why := gone(seed)) is not None]
    if cell is None:
        return []
    found = []
    for name in cell.metrics():
        watched = WATCHED[name]
        before, after = (_level(cell, side, name) for side in ("base", "head"))
        if before is None or (differ and watched.kind in ("time", "memory")):
            continue
        if after is None:
            cases.append(cell.case(name, "missing", "its step is done and no longer gives this number"))
        elif name in FROM_REFERENCE and not cell.share_references():
            cases.append(cell.case(name, "insufficient", "each side is measured from a reference of its own"))
        else:
            found.append(_finding(cell, watched, scores, (before, after)))
    return found


def _finding(cell: Cell, watched: Watched, scores: Scores, levels: tuple[float, float]) -> Finding:
    if watched.kind == "quality":
        return quality_of(cell, watched, scores, levels)
    if watched.kind == "exact":
        return Finding(cell, watched, *levels, effect=watched.effect(*levels), exact=True)
    return (time_of if watched.kind == "time" else memory_of)(cell, watched, levels)


def _level(cell: Cell, side: str, metric: str) -> float | None:
    values = [value for record in cell.done(side) if (value := value_of(record, metric)) is not None]
    return float(numpy.median(values)) if values else None


def _judged(found: list[Finding], chosen: bool) -> list[Case]:
    """The cases of all findings, after Holm's correction of the tests of each kind of number among them."""
    tested = [one for one in found if one.p is not None]
    tests = Counter(one.watched.kind for one in tested)
    adjusted: dict[int, float] = {}
    for kind in tests:
        family = [one for one in tested if one.watched.kind == kind]
        adjusted |= zip(map(id, family), holm([one.p for one in family if one.p is not None]), strict=True)
    return [_case(one, adjusted.get(id(one)), max(1, tests[one.watched.kind]), chosen) for one in found]


def _case(one: Finding, p: float | None, tests: int, chosen: bool) -> Case:
    """The case of a finding; ``p`` is corrected, in a family of ``tests``."""
    blind = p is not None and p >= ALPHA and one.attainable * tests >= ALPHA
    smallest = None if blind or one.seen is None else one.seen(1 - ALPHA / (2 * tests))
    status: Status = "insufficient"
    why = _blind(one, tests)
    if not blind:
        status, why = _verdict(one, p, chosen)
    change, low, high, seen = map(one.share, (one.effect, one.low, one.high, smallest))
    return one.cell.case(
        one.watched.metric, status, why, before=one.before, after=one.after, change=change, low=low, high=high,
        smallest=seen,
    )  # fmt: skip


def _blind(one: Finding, tests: int) -> str:
    """That no difference, however large, would have been found, and how many pairs it takes."""
    family = f" as one of {tests} tests of {_FAMILY.get(one.watched.kind, one.watched.kind)}" if tests > 1 else ""
    return f"{one.signs} {one.of} cannot say anything{family}; it takes {wanted(tests, ALPHA)}"


def _verdict(one: Finding, p: float | None, chosen: bool) -> tuple[Status, str]:
    if one.insufficient:
        return "insufficient", one.insufficient
    if one.exact and one.before == one.after:
        return "pass", "the same"
    free = one.watched.direction == "none"
    if one.exact and free and chosen:
        return "pass", "differs; a fact without a better side"
    tested = "" if p is None else f", p = {p:.2g} after Holm's correction"
    if not (one.exact or one.clear or (p is not None and p < ALPHA)):
        return "pass", f"no clear difference{tested}"
    effect = one.effect
    if not (one.watched.counts(one.before, one.after) if effect is None else abs(effect) > one.watched.smallest):
        return "pass", f"differs by less than counts{tested}"
    if free:
        return "regression", f"differs{tested}"
    worse = one.watched.worse(*((one.before, one.after) if effect is None else (0.0, effect)))
    return ("regression", f"worse{tested}") if worse else ("improvement", f"better{tested}")
