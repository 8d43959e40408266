"""``harness nightly``: measure a suite once more, keep the night, say what became worse, one exit code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.planning import suite_file
from harness.cli.running import How, run_parts
from harness.errors import StoreError
from harness.plan.suite import load
from harness.results.nights import Night, night_of
from harness.results.record import utc_now, write_file
from harness.results.store import Store

if TYPE_CHECKING:
    from harness.cli.judging import Outputs, Sources

ABANDONED = timedelta(hours=20)  # an unfinished night older than that is not gone on with


@dataclass(frozen=True)
class Unfinished:
    """The night that is being measured: a file beside the records until it is kept."""

    path: Path

    @classmethod
    def of(cls, store: Store, suite: str) -> Unfinished:
        """The unfinished night of a suite."""
        return cls(store.cache / "nights" / f"{suite}.json")

    def since(self, now: datetime) -> str:
        """When the night began: an unfinished one's beginning, else now, which is written down."""
        try:
            began = str(json.loads(self.path.read_text())["since"])
            if timedelta(0) <= now - datetime.fromisoformat(began) < ABANDONED:
                return began
        except (OSError, ValueError, KeyError, TypeError):
            pass
        began = utc_now()
        write_file(self.path, json.dumps({"since": began}) + "\n")
        return began

    def finish(self) -> None:
        """The night is kept: the next one begins anew."""
        self.path.unlink(missing_ok=True)


def nightly(suite_name: str, sources: Sources, outputs: Outputs, isolation: str, remeasure: int) -> int:
    """Run one night and return the exit code: the history's, or 130 and 143 where it was stopped."""
    from harness.cli.judging import judge, tell

    suite = load(suite_file(suite_name))
    store = Store(sources.results)
    store.check_writable()
    store.check_readable(suite.name)
    shared = sources.shared()
    shared.check_writable()
    before = shared.nights(suite.name).nights
    unfinished = Unfinished.of(store, suite.name)
    since = unfinished.since(datetime.now(UTC))
    if any(night.installation == store.installation and night.started >= since for night in before):
        unfinished.finish()  # it was kept, and then something ended the process
        since = unfinished.since(datetime.now(UTC))
    _check_clock(before, utc_now())
    how = How(isolation, since, remeasure, as_json=outputs.as_json, told=not outputs.as_json)
    outcome = run_parts(suite, store, how)
    if outcome.stopped is not None:
        return outcome.exit_code
    night = keep(store, suite.name, since, sources)
    unfinished.finish()
    judged = judge(suite.name, sources, extra=claims_in_words(suite.name, sources.results))
    return tell(judged, outputs, sources, f"{suite.name}, night {night.name}")


def keep(store: Store, suite: str, since: str, sources: Sources) -> Night:
    """Make a night of this installation's records since ``since`` and put it into the shared store."""
    from harness.results.rows import compact

    found = [
        record for record in store.records(suite).records
        if record["environment"].get("installation") == store.installation and record["started"] >= since
    ]  # fmt: skip
    if not found:
        raise StoreError(f"no record of {suite} was written since {since}: there is no night to keep")
    night = night_of(found)
    folder = store.folder(suite)
    sources.shared().put(night, {name: folder / f"{name}.json" for name in sorted({one["record"] for one in found})})
    compact(store.root, suite)
    return night


def claims_in_words(suite: str, results: Path) -> list[str]:
    """How many published claims the suite's records speak of, and what they say; nothing where they speak of none."""
    from collections import Counter

    from harness.analyse.claimed import judged
    from harness.claims import load as load_claims

    found = judged(load_claims([]), results, [suite])
    counts = Counter(one.judgement.verdict for one in found if one.judgement.verdict != "not testable here")
    if not counts:
        return []
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    return [f"Published claims that these records speak of: {told}."]


def _check_clock(nights: Sequence[Night], now: str) -> None:
    """A night that seems to lie before one that is kept would stand in the wrong place of every series."""
    if nights and nights[-1].started > now:
        raise StoreError(
            f"the clock says {now}, but night {nights[-1].name} is kept already: set the clock of the machine that is "
            "wrong, or remove that night"
        )
