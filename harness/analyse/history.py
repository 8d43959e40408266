"""What became worse over the nights: every series judged, with since when, by how much and what changed with it.

Pure functions over nights in order of time. Levels are compared with the last level that was good: the first one, a
better one that came later, or one that somebody accepted. A slow-down that was mended is history; one that was not
stays a regression every night until it is mended or accepted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy

from harness.analyse.accepted import Acceptance
from harness.analyse.case import Case, Place, Status, case_id, series_id
from harness.analyse.changes import (
    FEWEST,
    Change,
    changes,
    exact_changes,
    noise,
    repeats_exactly,
    shortest,
)
from harness.analyse.series import Movement, Series, machine_of, movements, series_of
from harness.analyse.significance import detectable
from harness.analyse.statistics import RESAMPLES
from harness.analyse.suspects import AROUND, suspects
from harness.results.nights import Night

AHEAD = 8  # nights in which a change should be found
EXPLAINED = 2.0  # times by how much the canary slowed: no more than that is put down to the machine
RECENT = 14  # nights for which something that is no alarm is told


@dataclass(frozen=True)
class Story:
    """A series with its changes and the verdict; ``used`` are the indices of the points that were looked at: all but
    times at which something else used the machine, or of nights at which its canary moved.
    """

    series: Series
    used: tuple[int, ...]
    changes: tuple[Change, ...]
    case: Case

    def night_of(self, change: Change) -> int:
        """Index of the night at which a change begins."""
        return self.series.points[self.used[change.at]].night


def stories(nights: Sequence[Night], accepted: Iterable[Acceptance] = ()) -> list[Story]:
    """Every series of the nights with its verdict at the last night of its machine."""
    moved = movements(nights)
    known = list(accepted)
    return [_story(one, nights, moved.get(one.hard, Movement()), known) for one in series_of(nights)]


def cases_of(nights: Sequence[Night], accepted: Iterable[Acceptance] = ()) -> list[Case]:
    """The verdicts of all series of the machine of the last night, and the steps of that night that gave nothing."""
    if not nights:
        return []
    last = nights[-1]
    here = {machine_of(facts) for facts in last.machines.values()}
    found = [one.case for one in current(stories(nights, accepted)) if one.series.machine in here]
    return [*found, *_never_done(nights, {case.place.step for case in found})]


def current(found: Sequence[Story]) -> list[Story]:
    """The stories without those that another one goes on with: the same number on hard facts that have changed."""
    begins: dict[str, list[int]] = {}
    for story in found:
        begins.setdefault(case_id(story.series.place, story.series.watched.metric), []).append(
            story.series.points[0].night
        )
    return [
        story for story in found
        if not any(
            first > story.series.points[-1].night
            for first in begins[case_id(story.series.place, story.series.watched.metric)]
        )
    ]  # fmt: skip


def unknown_machines(nights: Sequence[Night]) -> list[str]:
    """A line for every night with steps that say nothing of their machine, and are therefore in no series."""
    lines = []
    for night in nights:
        count = sum(entry["status"] == "done" and not entry["hard"] for entry in night.steps)
        if count:
            lines.append(f"night {night.name}: {count} steps say nothing of their machine and are left out")
    return lines


def _story(series: Series, nights: Sequence[Night], movement: Movement, accepted: Sequence[Acceptance]) -> Story:
    timed = series.watched.kind == "time"
    used = tuple(
        place for place, point in enumerate(series.points)
        if not timed or (point.night not in movement.nights and not point.disturbed)
    )  # fmt: skip
    values = [series.points[place].value for place in used]
    found = _changes(series, values)
    judged = _Judge(series, nights, movement if timed else Movement(), accepted, used, values, found)
    return Story(series, used, tuple(found), judged.case())


def _changes(series: Series, values: Sequence[float]) -> list[Change]:
    watched = series.watched
    exact = watched.kind == "exact" or (watched.kind == "quality" and repeats_exactly(values))
    return (exact_changes if exact else changes)(values, watched.counts)


@dataclass(frozen=True)
class _Standing:
    """Where a series stands after its changes, the number of the change that brought it there, and why it is good."""

    status: Status = "pass"
    change: int | None = None
    why: str = ""


@dataclass
class _Judge:
    """One series on its way to a case."""

    series: Series
    nights: Sequence[Night]
    movement: Movement
    accepted: Sequence[Acceptance]
    used: tuple[int, ...]
    values: list[float]
    changes: list[Change]

    def case(self) -> Case:
        """The verdict at the last night of the series' machine."""
        gone = self._gone()
        if gone is not None:
            return self._told(*gone)
        if not self.values:
            return self._told("insufficient", "at every night something else used the machine, or it was another one")
        standing = self._standing()
        if standing.status != "regression" and self.series.points[-1].night in self.movement.nights:
            return self._told("machine moved", "the canary moved this night: its times raise nothing")
        if standing.status != "regression" and self.used[-1] != len(self.series.points) - 1:
            unseen = len(self.series.points) - 1 - self.used[-1]
            return self._told("insufficient", f"{unseen} nights: something else used the machine beside it")
        if standing.change is not None and (standing.status == "regression" or self._recent(standing.change)):
            return self._changed(standing.status, standing.change, standing.why)
        exact = self.series.watched.kind == "exact" or repeats_exactly(self.values)
        if len(self.values) < shortest() and not exact:
            return self._told("insufficient", f"{len(self.values)} nights; a change can be found from {shortest()} on")
        return self._told("pass", "no clear difference")

    def _standing(self) -> _Standing:
        """Walk through the changes from one good level to the next."""
        good, found = self._level(0), _Standing()
        for number, change in enumerate(self.changes):
            shift = self._shift(change)
            acceptance = next((one for one in self.accepted if self._covers(one, change)), None)
            counts = self.series.watched.counts(good, change.after)
            if shift is not None:
                good *= change.after / change.before  # the machine explains this much, and nothing that was before it
                if found.status != "regression":
                    found = _Standing("machine moved", number, f"the canary {shift} moved with it")
            elif acceptance is not None:
                good, found = change.after, _Standing("accepted", number, acceptance.in_words())
            elif counts and self.series.watched.worse(good, change.after):
                found = found if found.status == "regression" else _Standing("regression", number)
            elif counts:
                good, found = change.after, _Standing("improvement", number)
            else:
                found = _Standing()
        return found

    def _level(self, number: int) -> float:
        """Median of the part that begins with change number - 1."""
        starts = [0, *(change.at for change in self.changes), len(self.values)]
        return float(numpy.median(self.values[starts[number] : starts[number + 1]]))

    def _shift(self, change: Change) -> str | None:
        """The canary that shifted with a change, in the same direction and by half as much at least."""
        if min(change.before, change.after) <= 0:
            return None
        slower = math.log(change.after / change.before) * (1 if self.series.watched.direction == "lower" else -1)
        for at, shift in self.movement.shifts.items():
            near = abs(at - self._night(change)) <= AROUND
            if near and slower * shift.slower > 0 and abs(slower) <= EXPLAINED * abs(shift.slower):
                return shift.canary
        return None

    def _covers(self, acceptance: Acceptance, change: Change) -> bool:
        series, today = self.series, self.nights[-1].started
        return acceptance.covers(series.id, series.watched, change.before, change.after, today)

    def _gone(self) -> tuple[Status, str] | None:
        """Whether the last night of this machine has no such number, and what became of it."""
        here = [number for number, night in enumerate(self.nights) if self._ran(night)]
        last, own = here[-1], self.series.points[-1].night
        if own == last:
            return None
        gone = [one for one in self.accepted if one.series == self.series.id and one.after is None]
        excused = any(one.holds(self.nights[-1].started) for one in gone)
        entry = next((each for each in self.nights[last].steps if each["step"] == self.series.place.step), None)
        if entry is None:
            since = next(number for number in here if number > own)
            if excused:
                return "accepted", "its disappearance was accepted"
            return "missing", f"not among the steps since {when(self.nights, since)}"
        if entry["status"] == "done":
            return "missing", "its step is done and no longer gives this number"
        if entry["status"] == "skipped" and excused:
            return "accepted", "its disappearance was accepted"
        return "missing" if entry["status"] == "skipped" else "errored", f"{entry['status']}: {entry['reason']}"

    def _ran(self, night: Night) -> bool:
        return any(machine_of(facts) == self.series.machine for facts in night.machines.values())

    def _recent(self, number: int) -> bool:
        """Whether something that is no alarm is still news."""
        return self._night(self.changes[number]) > len(self.nights) - 1 - RECENT

    def _night(self, change: Change) -> int:
        return self.series.points[self.used[change.at]].night

    def _told(self, status: Status, why: str) -> Case:
        level = self._level(len(self.changes)) if self.values else None
        last = self.series.points[self.used[-1]].value if self.used else None
        return Case(
            self.series.id, self.series.place, self.series.watched.metric, status, why, level, last,
            _ratio(level, last), smallest=self._smallest(),
        )  # fmt: skip

    def _changed(self, status: Status, number: int, why: str) -> Case:
        change = self.changes[number]
        before, after = self._level(number), self._level(len(self.changes))
        low, high = self._interval(number)
        night = self._night(change)
        words = why or ("worse" if status == "regression" else "better") + f" since {when(self.nights, night)}"
        return Case(
            self.series.id, self.series.place, self.series.watched.metric, status, words, before, after,
            _ratio(before, after), low, high, self._smallest(), self.nights[night].name,
            suspects(self.nights, [point.night for point in self.series.points], night),
        )  # fmt: skip

    def _interval(self, number: int) -> tuple[float | None, float | None]:
        """Bootstrap interval of the relative change from before change ``number`` to the level of now."""
        starts = [0, *(change.at for change in self.changes), len(self.values)]
        parts = [self.values[starts[place] : starts[place + 1]] for place in (number, len(self.changes))]
        if min(map(len, parts)) < FEWEST or all(len(set(part)) == 1 for part in parts):
            return None, None
        generator = numpy.random.default_rng(0)
        medians = [
            numpy.median(generator.choice(numpy.asarray(part), (RESAMPLES, len(part))), axis=1) for part in parts
        ]
        if (medians[0] <= 0).any():
            return None, None
        low, high = numpy.percentile(medians[1] / medians[0] - 1, (2.5, 97.5))
        return float(low), float(high)

    def _smallest(self) -> float | None:
        """The smallest detectable change in ``AHEAD`` nights, by the noise of the nights so far, as a share."""
        if len(self.values) < 2:
            return None
        middle = abs(float(numpy.median(self.values)))
        if middle == 0:
            return None
        spread = noise(self.values, [change.at for change in self.changes]) / middle
        return detectable(spread * math.sqrt(1 / len(self.values) + 1 / AHEAD))


def _never_done(nights: Sequence[Night], known: set[str]) -> list[Case]:
    """Steps of the last night that ended badly and have no series to say so in."""
    last, found = nights[-1], []
    for entry in last.steps:
        if entry["status"] in ("done", "skipped") or entry["operation"] == "canary" or entry["step"] in known:
            continue
        place = Place.of(last.suite, entry["step"], entry["operation"], entry["coordinates"])
        series = series_id(place, "status", entry)
        found.append(Case(series, place, "status", "errored", f"{entry['status']}: {entry['reason']}"))
    return found


def when(nights: Sequence[Night], number: int) -> str:
    """A night as readers name it: ``night 34 (2026-11-25 23:17)``."""
    return f"night {number + 1} ({nights[number].started[:16].replace('T', ' ')})"


def _ratio(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None or before <= 0 else after / before - 1
