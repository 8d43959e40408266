"""What a report takes from the records beside their rows, in one pass that keeps no record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas

from harness.results.facts import Facts, FactsOf
from harness.results.items import ItemsOf
from harness.results.quarantine import Records
from harness.results.reading import stream
from harness.results.store import Store


@dataclass(frozen=True)
class Recorded:
    """Per-item scores, facts, and what methods of one installation really made, by their names, where they say so."""

    items: pandas.DataFrame
    facts: Facts
    found_as: dict[str, str]


def recorded(store: Store, suite: str, installation: str | None, deciding: Collection[str]) -> Recorded:
    """Read every record of a suite once; ``found_as`` and items are of ``installation``, items of what decides."""
    facts, items = FactsOf(), ItemsOf()
    made: dict[str, tuple[str, str, str | None]] = {}
    for record in stream(store, suite, Records()):
        facts.add(record)
        if str(record["environment"].get("installation")) != str(installation):
            continue
        if record["record"] in deciding:
            items.add(record)
        if record["operation"] == "compress":
            method = record["coordinates"]["method"]
            found = (record["started"], record["record"], record["observed"].get("found_as"))
            made[method] = max(made.get(method, found), found, key=lambda one: one[:2])
    return Recorded(items.frame(), facts.facts(), {method: one[2] for method, one in made.items() if one[2]})
