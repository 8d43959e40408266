"""The nights of a suite in its report: what changed, since when and with what, and every series as a picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pandas

from harness.analyse.case import Case, worst_first
from harness.analyse.history import AHEAD, Story, cases_of, unknown_machines, when
from harness.analyse.series import Point, movements
from harness.report.case_words import DETECTABLE, change_in_words, in_words, levels_in_words, unit_of
from harness.report.content import Content
from harness.report.document import Block, Bullets, Column, Paragraph, Row, Section, Table, Value
from harness.report.history_figures import panels, pick_one
from harness.report.numbers import pretty
from harness.results.nights import Night

MOST_DRAWN = 8
EXPLANATION = (
    "One series per cell, number and hard facts of the machine. A change is where the ranks before and after differ "
    "more than nights in random order would (permutation test, p <= 0.001, after taking out how far a night resembles "
    "the next one) and the medians by more than counts: 3 % for times and peaks, 0.5 % for quality. Numbers that "
    "repeat to the bit are compared exactly. docs/calibration.md says how often this is wrong."
)


def history(content: Content) -> Section | None:
    """The section, or None where fewer than two nights are kept."""
    if len(content.nights) < 2:
        return None
    found = content.stories
    drawn = [one for one in found if one.changes or one.case.status not in ("pass", "insufficient")]
    drawn = sorted(drawn, key=lambda one: _order(found).index(one.case.id))[:MOST_DRAWN]
    blocks: list[Block] = [Bullets(history_in_words(content)), Paragraph(EXPLANATION, "note")]
    table = _table([one.case for one in found], content)
    if table is not None:
        blocks.append(table)
    if drawn:
        blocks.append(panels([_points(one, content.nights) for one in drawn], [_titles(one) for one in drawn]))
    changed = _changes_table(found, content.nights)
    return Section("History", blocks if changed is None else [*blocks, changed])


def findable(content: Content) -> Section | None:
    """What each noisy series could have shown, on demand."""
    if len(content.nights) < 2:
        return None
    found = [one for one in content.stories if one.series.watched.kind in ("time", "memory")]
    return Section("What the nights could have shown", [_smallest_table(found)], folded=True) if found else None


def every_series(content: Content) -> Section | None:
    """For the page alone: any series, picked by name."""
    if len(content.nights) < 2:
        return None
    found = sorted(content.stories, key=_title)
    if not found:
        return None
    noisy = [one for one in found if one.series.watched.kind == "time"] or found
    worst = next(_title(one) for one in noisy if one.case.id == _order(noisy)[0])
    points = pandas.concat([_points(one, content.nights).assign(series=_title(one)) for one in found])
    figure = pick_one(points, [_title(one) for one in found], worst)
    return Section("Any series over the nights", [figure], page_only=True)


def history_in_words(content: Content) -> list[str]:
    """How many nights and series there are, and what became worse, for the opening of the report too."""
    if len(content.nights) < 2:
        return []
    cases = cases_of(content.nights, content.accepted)
    worse = [case for case in worst_first(cases) if case.status in ("regression", "missing", "errored")]
    first, last = (one.started[:16].replace("T", " ") for one in (content.nights[0], content.nights[-1]))
    moved = {night for one in movements(content.nights).values() for night in one.nights}
    told = [
        f"{len(content.nights)} nights from {first} to {last}, {len(cases)} series: "
        f"{len(worse)} not as they should be."
    ]
    told += [f"{case.status.capitalize()}: {in_words(case)}." for case in worse[:3]]
    if len(worse) > 3:
        told.append(f"and {len(worse) - 3} more, below.")
    if moved:
        told.append(f"The canary moved at {len(moved)} nights, whose times raise nothing.")
    return [*told, *(f"{line}." for line in unknown_machines(content.nights))]


def _order(found: Sequence[Story]) -> list[str]:
    return [case.id for case in worst_first([one.case for one in found])]


def _titles(story: Story) -> list[str]:
    """The name of a series in two lines: the number, and where it is from."""
    where, metric = story.case.series.rsplit(": ", 1)
    return [metric, where]


def _title(story: Story) -> str:
    return story.case.series


def _when(case: Case, nights: Sequence[Night]) -> str:
    number = next((place for place, night in enumerate(nights) if night.name == case.since), None)
    return "-" if number is None else when(nights, number).removeprefix("night ")


def _table(cases: Sequence[Case], content: Content) -> Table | None:
    """Every series that is not simply as before."""
    news = [case for case in worst_first(cases) if case.status not in ("pass", "insufficient")]
    if not news:
        return None
    rows = [
        Row([
            Value(case.status, kind="word"), Value(case.series, case.id, kind="text"),
            Value(levels_in_words(case) or "-", kind="text"), Value(change_in_words(case) or "-", kind="text"),
            Value(_when(case, content.nights), kind="text"), Value("; ".join(case.suspects) or case.why, kind="text"),
        ])
        for case in news
    ]  # fmt: skip
    titles = ("Verdict", "Series", "Level", "Change", "Since night", "What changed with it")
    return Table([Column(title, kind="text") for title in titles], rows, "Series that are not as before")


def _changes_table(found: Sequence[Story], nights: Sequence[Night]) -> Table | None:
    """Every change that was ever found, mended ones too."""
    rows = []
    for story in found:
        unit = unit_of(story.case)
        for change in story.changes:
            night = story.night_of(change)
            ratio = change.after / change.before - 1 if change.before > 0 else None
            rows.append((night, Row([
                Value(when(nights, night).removeprefix("night "), kind="text"), Value(_title(story), kind="text"),
                Value(f"{pretty(change.before, unit)} -> {pretty(change.after, unit)}", kind="text"),
                Value("-" if ratio is None else f"{ratio:+.1%}"),
                Value("exact" if change.p == 0 else f"{change.p:.1g}"),
            ])))  # fmt: skip
    if not rows:
        return None
    columns = [*(Column(title, kind="text") for title in ("Night", "Series", "Level")), Column("Change"), Column("p")]
    return Table(columns, [row for _, row in sorted(rows, key=lambda pair: pair[0])], "Every change found")


def _smallest_table(found: Sequence[Story]) -> Table:
    """What each series could have shown."""
    rows = [
        Row([
            Value(_title(one), kind="text"), Value(str(len(one.used))),
            Value(pretty(one.series.points[-1].value, unit_of(one.case))),
            Value("-" if one.case.smallest is None else pretty(one.case.smallest, "share")),
        ])
        for one in sorted(found, key=_title)
    ]  # fmt: skip
    columns = [Column("Series", kind="text"), Column("Nights"), Column("Last value"),
               Column(DETECTABLE.capitalize(), f"in {AHEAD} nights; less than counts raises nothing")]  # fmt: skip
    return Table(columns, rows)


def _points(story: Story, nights: Sequence[Night]) -> pandas.DataFrame:
    """A line per night: ``night date commit value level state change``, as ``_state`` names the states."""
    used = set(story.used)
    levels: dict[int, float] = {}
    starts = [0, *(change.at for change in story.changes), len(story.used)]
    values = story.series.values
    for low, high in itertools.pairwise(starts):
        part = story.used[low:high]
        level = float(pandas.Series([values[place] for place in part]).median()) if part else None
        levels |= {place: level for place in part if level is not None}
    rows = [
        {
            "night": point.night + 1, "date": nights[point.night].started[:16],
            "commit": str(nights[point.night].commit.get("sha"))[:12], "value": point.value,
            "level": levels.get(place), "state": "measured" if place in used else _state(point),
            "change": place in {story.used[change.at] for change in story.changes},
        }
        for place, point in enumerate(story.series.points)
    ]  # fmt: skip
    return pandas.DataFrame(rows)


def _state(point: Point) -> str:
    """Why a value was not looked at."""
    return "disturbed" if point.disturbed else "machine moved"
