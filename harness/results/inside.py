"""Whether a file lies where it seems to: a results folder from somebody else may hold links that lead out of it."""

from __future__ import annotations

from pathlib import Path

from harness.errors import StoreError


def check_inside(root: Path, path: Path) -> Path:
    """``path`` itself; ``StoreError`` where writing it would write outside ``root``, through a name or a link.

    ``root`` may be a link, as whoever named it chose. A link at ``path`` itself is no harm to a writer that renames.
    """
    try:
        parent, top = path.parent.resolve(), root.resolve()
        outside = path.name in ("", ".", "..") or not parent.is_relative_to(top)
    except (OSError, RuntimeError, ValueError):
        outside = True
    if outside:
        raise StoreError(f"{path} leads out of {root}: nothing is written there; remove the link or choose another one")
    return path
