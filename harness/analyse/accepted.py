"""Changes that somebody looked at and accepted: a reviewed file beside the results, whose entries expire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analyse.case import ACCEPTABLE, Case
from harness.errors import SuiteError, UsageError
from harness.plain_text import one_line

if TYPE_CHECKING:
    from harness.analyse.watched import Watched

FILE = "accepted.yaml"
DAYS = 90
_TEXTS = ("series", "what", "night", "reason", "accepted", "expires")
_HEAD = "# Changes that were looked at and accepted (`harness accept SERIES --reason ...`). Entries expire.\n"


@dataclass(frozen=True)
class Acceptance:
    """One entry: that the level of a series went from ``before`` to ``after`` (None: it disappeared) is good until
    ``expires``.
    """

    series: str
    what: str
    night: str | None
    before: float | None
    after: float | None
    reason: str
    accepted: str
    expires: str

    def holds(self, today: str) -> bool:
        """Whether it still holds at a day (ISO; a time stamp does too)."""
        return today[:10] <= self.expires

    def covers(self, series: str, watched: Watched, before: float, after: float, today: str) -> bool:
        """Whether a change of a series is the one that was accepted: from that level, and to nothing worse."""
        if self.series != series or not self.holds(today) or self.before is None or self.after is None:
            return False
        further = watched.counts(self.after, after) and watched.worse(self.after, after)
        return not further and not watched.counts(self.before, before)

    def in_words(self) -> str:
        """Who reads a report wants to know why and until when."""
        return f"accepted until {self.expires}: {self.reason}"


def acceptance_of(case: Case, reason: str, today: date, days: int = DAYS) -> Acceptance:
    """Accept what a case says; ``UsageError`` where there is nothing to accept or no reason."""
    if not reason.strip():
        raise UsageError("say why the change is accepted: --reason TEXT")
    if case.status not in ACCEPTABLE:
        raise UsageError(f"series {case.id} is '{case.status}', there is nothing to accept ({case.why})")
    gone = case.status == "missing"
    return Acceptance(
        case.id, f"{case.place.suite}: {case.series}", case.since, case.before,
        None if gone else case.after, " ".join(reason.split()), today.isoformat(),
        (today + timedelta(days=days)).isoformat(),
    )  # fmt: skip


def read(path: Path) -> list[Acceptance]:
    """The entries of a file, none where it does not exist; ``UsageError`` in one line where one is wrong."""
    from harness.plan import document

    try:
        found = document.read(path, _TEXTS).value if path.exists() else []
    except SuiteError as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        raise UsageError(f"{where} cannot be read: {error.plain}") from None
    if found is None:
        return []
    if not isinstance(found, list):
        raise UsageError(f"{path} must be a list of accepted changes; `harness accept` writes it")
    return [_entry(path, number, item) for number, item in enumerate(found, start=1)]


def write(path: Path, entries: Sequence[Acceptance]) -> None:
    """Write the file whole; an entry of a series takes the place of the one before."""
    import yaml

    from harness.results.record import write_file

    latest = {entry.series: entry for entry in entries}
    listed = yaml.safe_dump([asdict(entry) for entry in latest.values()], sort_keys=False, width=110,
                            allow_unicode=True)  # fmt: skip
    write_file(path, _HEAD + listed)


def _entry(path: Path, number: int, item: Any) -> Acceptance:
    names = Acceptance.__dataclass_fields__
    if not isinstance(item, dict) or (wrong := set(item) ^ set(names)):
        said = f"has {', '.join(sorted(map(str, wrong)))} wrong" if isinstance(item, dict) else "is no mapping"
        raise UsageError(f"{path}: entry {number} {said}; its fields are {', '.join(names)}")
    told: dict[str, Any] = dict(item)
    for name in ("accepted", "expires"):
        try:
            told[name] = date.fromisoformat(str(told[name])).isoformat()
        except ValueError:
            shown = one_line(told[name], 40)
            raise UsageError(f"{path}: entry {number}: {name} '{shown}' is no date like 2026-11-25") from None
    for name in ("before", "after"):
        value = told[name]
        small = value is None or (isinstance(value, int | float) and abs(value) <= 1e100)
        if isinstance(value, bool) or not small:
            raise UsageError(f"{path}: entry {number}: {name} must be a number")
    for name in ("series", "what", "reason"):
        if not isinstance(told[name], str):
            raise UsageError(f"{path}: entry {number}: {name} must be text")
    if not isinstance(told["night"], str | None):
        raise UsageError(f"{path}: entry {number}: night must be text")
    # On one line, as they are written again: YAML has more ends of lines than a text file.
    told |= {name: one_line(told[name]) for name in ("series", "what", "night", "reason") if told[name] is not None}
    return Acceptance(**told)
