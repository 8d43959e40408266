"""Why something must stay, whatever the limits: a report or a night names it, git keeps it, a plan is decided by it.

Standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.results.inventory import ARTEFACT, CHECKPOINT, RECORD, Item
from harness.results.made import made_in, with_parts
from harness.results.named import Named, named_by
from harness.results.pending import Pending
from harness.results.shared import SharedStore
from harness.results.store import Store
from harness.results.tracked import tracked_files

SINCE = "since"  # the key of a plan that says when a self-test began: all its repeats count
VERDICTS = "verdicts"  # the page that judges by every suite
Reasons = dict[Item, str]


def reasons(store: Store, items: Iterable[Item], reports: Iterable[Path]) -> Reasons:
    """Why each of those ``items`` stays that must; the first reason that there is, of those in this file's order.

    ``StoreError`` where a plan, a night or what a report names cannot be read: then nothing is known to be free.
    """
    every = list(items)
    records = [item for item in every if item.kind == RECORD]
    found = {item: "cannot be read: look at it, and delete it by hand" for item in records if item.ended is None}
    tracked = tracked_files(store.root)
    found |= {item: "in git" for item in every if item not in found and any(path in tracked for path in item.paths)}
    for more in (
        *(_named(records, named_by(folder)) for folder in reports), _in_nights(store, records),
        _deciding(store, records), _needed(store, every),
    ):  # fmt: skip
        found = more | found
    return found | {item: item.in_use for item in every if item.in_use}


def _named(records: Iterable[Item], named: Named) -> Reasons:
    found = {}
    for item in records:
        if page := named.records.get((item.suite, item.installation, item.name)):
            found[item] = f"named by {page}"
        elif page := named.silent.get(item.suite) or named.silent.get(VERDICTS):
            found[item] = f"{page} does not say which records it names; write it again"
    return found


def _in_nights(store: Store, records: Iterable[Item]) -> Reasons:
    """Records that a night of this folder names, and those of a night that is being measured."""
    shared, found = SharedStore(store.root), {}
    by_suite: dict[str, list[Item]] = {}
    for item in records:
        by_suite.setdefault(item.suite, []).append(item)
    for suite, items in by_suite.items():
        nights = shared.nights(suite)
        names = {(night.installation, str(step["record"])) for night in nights.nights for step in night.steps}
        since = _unfinished(store, suite)
        for item in items:
            if (item.installation, item.name) in names:
                found[item] = "named by a night"
            elif nights.unreadable:
                found[item] = f"night {nights.unreadable[0].split(':')[0]} cannot be read, which may name it"
            elif since and item.ended is not None and item.ended.started >= since:
                found[item] = "of a night that is being measured"
    return found


def _unfinished(store: Store, suite: str) -> str:
    try:
        return str(json.loads((store.cache / "nights" / f"{suite}.json").read_text())["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _deciding(store: Store, records: Iterable[Item]) -> Reasons:
    """Of every step of a latest plan the attempts that the next plan goes by: the latest, and the latest done ones.

    A step is done on the same hard facts: there is a latest one for each.
    """
    of: dict[tuple[str, str], dict[str, list[Item]]] = {}
    for item in records:
        of.setdefault((item.suite, item.installation), {}).setdefault(item.step, []).append(item)
    found: Reasons = {}
    for suite in {suite for suite, _ in of}:
        for installation, plan in store.plans(suite).items():
            attempts, since = of.get((suite, installation), {}), str(plan.get(SINCE) or "")
            steps = [str(step.get("id")) for step in plan.get("steps") or []]
            kept = [item for step in steps for item in _latest(attempts.get(step, []))]
            if since:
                every = (item for items in attempts.values() for item in items)
                kept += [item for item in every if item.ended and item.ended.started >= since]
            found |= dict.fromkeys(kept, f"decides a step of the latest plan of {suite}")
    return found


def _latest(attempts: Iterable[Item]) -> Iterable[Item]:
    ordered = sorted(attempts, key=lambda item: item.attempt)
    done: Mapping[str, Item] = {item.ended.hard: item for item in ordered if item.ended and item.ended.status == "done"}
    return {*ordered[-1:], *done.values()}


def _needed(store: Store, items: Iterable[Item]) -> Reasons:
    """Checkpoints and artefacts that planned steps which have not run need, with all that they hold parts of."""
    waiting = Pending(store).needed()
    every = made_in(store.cache)
    found: Reasons = {}
    for item in items:
        if item.kind in (CHECKPOINT, ARTEFACT) and item.step in waiting:
            found[item] = f"a step of {waiting[item.step]} that has not run yet needs it"
    below = with_parts({item.step for item in found}, every)
    for item in items:
        if item.kind == CHECKPOINT and item.step in below and item not in found:
            found[item] = "a checkpoint that is still needed holds parts of it"
    return found
