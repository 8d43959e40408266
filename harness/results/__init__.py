"""Records, the store that keeps them, and the tidy rows read from them.

``load`` is the public way to the rows: ``from harness.results import load``. It is imported when first asked for, so
that records and the store stay free of pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.results.rows import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness.results.rows import load

    return load
