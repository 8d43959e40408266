"""Why to believe the numbers: flags, the machine, versions, commands, and how each metric is measured."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from harness.metrics import METRICS
from harness.report.content import Content, one_line
from harness.report.document import Block, Bullets, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import pretty

MOST_NAMED = 4
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
CANARY = tuple(name for name in METRICS if name.startswith("canary_"))


def validity(content: Content) -> Section:
    """Every validity flag with the steps that raised it, and the records that could not be read."""
    flagged: dict[str, list[tuple[str, str]]] = {}
    kept = content.rows[(content.rows["metric"] == "status") & content.rows["flags"].notna()]
    for line in kept.sort_values("record").itertuples(index=False):
        for text in str(line.flags).split("; "):
            flagged.setdefault(_NUMBER.sub("#", text), []).append((text, _step_name(line)))
    rows = [
        Row([Value(_alike([text for text, _ in told]), kind="text"), Value(str(len(told))),
             Value(_named([step for _, step in told]), kind="text")])
        for _, told in sorted(flagged.items())
    ]  # fmt: skip
    blocks: list[Block] = []
    if rows:
        blocks.append(Table([Column("Flag", kind="text"), Column("Steps"), Column("Which", kind="text")], rows))
    else:
        blocks.append(Paragraph("No step raised a validity flag.", "text"))
    unreadable = content.frame.attrs.get("unreadable") or []
    if unreadable:
        blocks.append(Paragraph(f"{len(unreadable)} records could not be read and are in no number above:", "text"))
        blocks.append(Bullets(list(unreadable)))
    return Section("Validity flags", blocks)


def machine(content: Content) -> Section:
    """The machine's hard and soft facts, the canary, commits and commands."""
    told = content.facts.environments.get(str(content.installation), {})
    blocks: list[Block] = [Bullets(_sources(content))]
    for name, title in (("hard", "Hard facts (a change starts a new series)"), ("soft", "Soft facts")):
        rows = [Row([Value(key, kind="text"), Value(text, kind="text")]) for key, text in _flat(told.get(name) or {})]
        if rows:
            blocks.append(Table([Column("Fact", kind="text"), Column("Value", kind="text")], rows, title))
    for name, soft in sorted((told.get("others") or {}).items()):
        main = dict(_flat(told.get("soft") or {}))
        rows = [Row([Value(key, kind="text"), Value(text, kind="text")]) for key, text in _flat(soft)
                if main.get(key) != text]  # fmt: skip
        title = f"Environment {name}, where it differs"
        blocks.append(Table([Column("Fact", kind="text"), Column("Value", kind="text")], rows, title))
    canary = _canary(content)
    if canary is not None:
        blocks.append(canary)
    commands = content.facts.commands.get(str(content.installation), [])
    blocks += [Paragraph(shlex.join(command), "code") for command in commands]
    return Section("Machine, versions and commands", blocks)


def definitions(content: Content) -> Section:
    """How every metric that occurs is measured."""
    known = set(content.frame["metric"].astype(str).unique())
    rows = [
        Row([
            Value(one.label, one.name, kind="text"), Value("" if one.unit == "1" else one.unit, kind="word"),
            Value("" if one.direction == "none" else f"{one.direction} is better", kind="word"),
            Value(one.how, kind="text"),
        ])
        for one in METRICS.values() if one.name in known
    ]  # fmt: skip
    columns = [Column(title, kind="text") for title in ("Metric", "Unit", "Better", "How it is measured")]
    return Section("How each metric is measured", [Table(columns, rows)], folded=True)


def _sources(content: Content) -> list[str]:
    status = content.rows[content.rows["metric"] == "status"]
    commits = []
    for (sha, dirty), group in status.groupby(["commit", "dirty"], dropna=False, observed=True, sort=True):
        state = " with uncommitted changes" if dirty is True or str(dirty) == "True" else ""
        commits.append(f"Commit {str(sha)[:12]}{state}: {len(group)} steps.")
    started = sorted(status["started"].astype(str))
    when = [f"Measured from {started[0]} to {started[-1]}, {len(started)} steps."] if started else []
    every = {str(name) for name in content.frame["installation"].dropna().unique()}
    others = sorted(every - {str(content.installation)})
    about = [f"Installation {content.installation}."] if content.installation else []
    counted = status.loc[status["step"].isin(set(content.member["step"])), "record"].unique()
    opened = [content.facts.observed.get(str(name), {}).get("hub") or {} for name in counted]
    about += [f"Of the hub: {text}." for text in sorted({text for found in opened for text in found.values()})]
    if others:
        about.append(f"Records of other installations are not used here: {', '.join(others)}.")
    return [*when, *commits, *about]


def _canary(content: Content) -> Table | None:
    kept = content.frame[(content.frame["installation"] == content.installation) & content.frame["metric"].isin(CANARY)]
    kept = kept[kept["sample"].isna()].sort_values(["started", "metric"])
    if kept.empty:
        return None
    rows = [
        Row([Value(str(line.started), kind="text"), Value(METRICS[str(line.metric)].label, kind="text"),
             Value(pretty(float(value), "s"))])
        for line, value in zip(kept.itertuples(index=False), kept["value"].tolist(), strict=True)
    ]  # fmt: skip
    columns = [Column("When", kind="text"), Column("Canary", kind="text"), Column("Median")]
    return Table(columns, rows, "A fixed piece of work at both ends")


def _flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for key, value in sorted(facts.items()):
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            found += _flat(value, f"{name}: ")
        elif isinstance(value, list | tuple):
            found.append((name, ", ".join(map(str, value)) or "none"))
        else:
            found.append((name, "-" if value is None else str(value)))
    return found


def _alike(texts: list[str]) -> str:
    """One text for flags that differ in their numbers alone: each number becomes its range."""
    columns = list(zip(*(_NUMBER.findall(text) for text in texts), strict=True))
    ranges = iter([min(column, key=float), max(column, key=float)] for column in columns)
    return _NUMBER.sub(lambda _: "-".join(dict.fromkeys(next(ranges))), texts[0])


def _named(steps: list[str]) -> str:
    names = list(dict.fromkeys(steps))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return "; ".join(names[:MOST_NAMED]) + more


def _step_name(line: Any) -> str:
    parts = (line.operation, line.method, line.task, line.precision)
    return one_line("" if isinstance(part, float) else part for part in parts)
