"""The records that a page rests on: they are named in a file beside it, so that nothing cleans them away.

As long as these are there the page can be written again, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.analyse.selftest import SUITE as SELF_TEST
from harness.report.content import Content
from harness.results.named import Key


def rests_on(content: Content) -> list[Key]:
    """Those that decide a step, both canaries of every sweep, those whose facts are shown, and the self-test's."""
    suite, own = str(content.plan.get("suite")), str(content.installation)
    frame = content.frame
    is_own = frame["installation"] == content.installation
    canaries = frame.loc[is_own & (frame["operation"] == "canary"), "record"]
    names = {*map(str, content.rows["record"].unique()), *map(str, canaries.unique())}
    names |= content.facts.sources.get(own, set())
    found = {(suite, own, name) for name in names} | {(suite, *other) for other in _mentioned(content, names)}
    if (test := content.self_test) is not None:
        found |= {(SELF_TEST, test.installation, name) for name in test.records}
    return sorted(found)


def _mentioned(content: Content, names: set[str]) -> Iterator[tuple[str, str]]:
    """One record for each other installation, and for each metric that only attempts have which decide nothing."""
    frame = content.frame
    used = frame.loc[(frame["installation"] == content.installation) & frame["record"].isin(names), "metric"].unique()
    for name in set(frame["metric"].unique()) - set(used):
        yield _first(content, "metric", name)
    for name in set(frame["installation"].dropna().unique()) - {content.installation}:
        yield _first(content, "installation", name)


def _first(content: Content, column: str, value: object) -> tuple[str, str]:
    row = content.frame[content.frame[column] == value].iloc[0]
    return str(row["installation"]), str(row["record"])
