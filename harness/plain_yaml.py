"""YAML that anybody may have written: limits that are checked before anything is built from it. PyYAML alone."""

from __future__ import annotations

import yaml

MOST_ALIASES = 100
DEEPEST = 25


def beyond_limits(text: str, loader: type) -> tuple[str, int | None] | None:
    """What is wrong with a text that is nested too deep or full of aliases, and in which line; None if nothing is.

    ``yaml.YAMLError`` where it is no YAML.
    """
    depth = aliases = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        line = event.start_mark.line + 1 if event.start_mark else None
        if depth > DEEPEST:
            return f"nested more than {DEEPEST} deep", line
        if aliases > MOST_ALIASES:
            return f"more than {MOST_ALIASES} aliases", line
    return None
