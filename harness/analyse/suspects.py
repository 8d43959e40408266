"""What changed at the same time as a number: commits, libraries, drivers, offered as suspects and not as causes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from harness.results.nights import Night

AROUND = 2  # nights by which a change that is found lies beside the one that made it


def suspects(nights: Sequence[Night], own: Sequence[int], at: int) -> tuple[str, ...]:
    """Facts that differ between the night of a change and the night of the same series before it.

    Where nothing differs there, those within ``AROUND`` nights are named with their night.
    """
    earlier = [number for number in own if number < at]
    if not earlier:
        return ()
    found = differing(nights[earlier[-1]], nights[at])
    if found:
        return tuple(found)
    near = [number for number in own if abs(number - at) <= AROUND]
    said = []
    for first, second in itertools.pairwise(near):
        said += [f"{line} (night {second + 1})" for line in differing(nights[first], nights[second])]
    return tuple(said)


def differing(first: Night, second: Night) -> list[str]:
    """What is not the same at two nights: the commit and the soft facts, as ``torch 2.12.0 -> 2.13.0``."""
    found = []
    commits = [f"{str(night.commit.get('sha'))[:12]}{' with changes' if night.commit.get('dirty') else ''}"
               for night in (first, second)]  # fmt: skip
    if commits[0] != commits[1]:
        found.append(f"commit {commits[0]} -> {commits[1]}")
    for name in sorted({*first.software, *second.software}):
        one, other = _flat(first.software.get(name, {})), _flat(second.software.get(name, {}))
        where = "" if name == "main" else f" ({name})"
        found += [
            f"{key} {one.get(key)} -> {other.get(key)}{where}"
            for key in sorted({*one, *other}) if one.get(key) != other.get(key)
        ]  # fmt: skip
    return found


def _flat(facts: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in facts.items():
        found |= {str(name): str(each) for name, each in value.items()} if isinstance(value, Mapping) else {
            key.replace("_", " "): str(value)
        }
    return found
