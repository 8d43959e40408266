"""``harness env``: the environments of packages that cannot live together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from harness import environments
from harness.cli.terminal import print
from harness.environments import syncing

EVERY = "all"


def described() -> list[dict[str, Any]]:
    """Every environment with what it is for, whether it is set up, and its pinned packages."""
    found = []
    for name in environments.names():
        defined, lacking = environments.definition(name), environments.lacking(name)
        found.append({
            "name": name, "summary": defined.summary, "techniques": list(defined.techniques), "ready": lacking is None,
            "reason": lacking, "packages": list(defined.packages), "folder": str(environments.folder(name)),
        })  # fmt: skip
    return found


def show_environments(found: Sequence[dict[str, Any]]) -> None:
    """Print them for people."""
    for one in found:
        print(f"{one['name']}: {one['summary']}")
        print(f"  for       {', '.join(one['techniques'])}")
        print(f"  packages  {', '.join(one['packages'])}")
        print(f"  state     {'ready' if one['ready'] else one['reason']}")


def sync_all(names: Sequence[str]) -> None:
    """Make each environment and say how it went."""
    for name in _asked(names):
        began = time.monotonic()
        made = syncing.sync(name, lambda text: print(text, flush=True))
        print(f"{name}: ready after {time.monotonic() - began:.0f} s" if made else f"{name}: is as it is defined")


def remove_all(names: Sequence[str]) -> None:
    """Remove each environment and say whether there was one."""
    for name in _asked(names):
        print(f"{name}: {'removed' if syncing.remove(name) else 'was not there'}")


def _asked(names: Sequence[str]) -> tuple[str, ...]:
    """The names, checked before anything is done; ``all`` is every one."""
    asked = environments.names() if EVERY in names else tuple(dict.fromkeys(names))
    for name in asked:
        environments.definition(name)
    return asked
