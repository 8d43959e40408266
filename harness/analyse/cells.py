"""Which steps belong to which cell: what turns rows of single steps into rows of whole methods.

With a plan that is what the plan says. Without one it is found from the coordinates: the steps of ``lora > int8`` are
its own and those of its prefix ``lora``, and a coordinate that a step does not depend on is null and fits every cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas

GROUP = ("method", "model", "data", "precision", "hardware")
AXES = (*GROUP, "seed")
MEMBER = ("cell", *AXES, "step")
CHAIN = " > "


def members(frame: pandas.DataFrame, plan: Mapping[str, Any] | None = None) -> pandas.DataFrame:
    """One line per cell and step of it (columns ``cell method model data precision hardware seed step``)."""
    cells = (plan or {}).get("cells")
    lines = _planned(cells) if cells else _found(frame)
    found = pandas.DataFrame(lines, columns=list(MEMBER)).astype({"seed": "Int64"})
    texts = [name for name in MEMBER if name != "seed"]
    found[texts] = found[texts].astype(object).where(found[texts].notna(), None)
    return found


def deciding(frame: pandas.DataFrame, installation: str | None = None) -> pandas.DataFrame:
    """Rows of the record that decides each step: its latest ``done`` attempt, or its latest attempt.

    Only one installation's rows are kept: the one asked for where it has rows, else the one that started last.
    """
    if frame.empty:
        return frame
    frame = frame[frame["installation"] == (installation_of(frame, installation))]
    status = frame.loc[frame["metric"] == "status", ["step", "record", "status"]].astype(str)
    status["done"] = status["status"] == "done"
    status["attempt"] = pandas.to_numeric(status["record"].str.rsplit(".", n=1).str[-1], errors="coerce").fillna(0)
    chosen = status.sort_values(["step", "done", "attempt"]).groupby("step")["record"].last()
    return frame[frame["record"].isin(set(chosen))]


def items_of_deciding(items: pandas.DataFrame, rows: pandas.DataFrame) -> pandas.DataFrame:
    """The per-item scores that belong to ``rows``, which are those of the records that decide: one record per step."""
    kept = rows[["installation", "record"]].astype(str).drop_duplicates()
    of = pandas.MultiIndex.from_frame(items[["installation", "record"]].astype(str))
    return items[of.isin(pandas.MultiIndex.from_frame(kept))]


def installation_of(frame: pandas.DataFrame, wanted: str | None = None) -> str | None:
    """The installation whose rows a report uses: ``wanted`` if it has any, else that of the latest record."""
    status = frame.loc[frame["metric"] == "status", ["installation", "started"]].astype(str)
    if status.empty:
        return wanted
    if wanted is not None and (status["installation"] == wanted).any():
        return wanted
    return str(status.sort_values(["started", "installation"])["installation"].iloc[-1])


def prefixes(method: str) -> list[str]:
    """Every prefix of a method's chain, shortest first: ``a > b`` gives ``a`` and ``a > b``."""
    depth, found = 0, []
    for index, character in enumerate(method):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and method.startswith(CHAIN, index):
            found.append(method[:index])
    return [*found, method]


def _planned(cells: list[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    lines = []
    for cell in cells:
        axes = tuple(cell.get(name) for name in AXES)
        name = cell.get("id") or cell.get("cell")
        lines += [(name, *axes, step) for step in dict.fromkeys(cell.get("steps") or [None])]
    return lines


def _found(frame: pandas.DataFrame) -> list[tuple[Any, ...]]:
    columns = ["cell", *AXES, "step", "operation"]
    steps = frame.loc[frame["metric"] == "status", columns].astype(object)
    steps = steps.where(steps.notna(), None).drop_duplicates()
    cells = steps[steps["operation"] == "eval"].drop_duplicates(["cell", *AXES])
    lines = []
    for cell in cells.itertuples(index=False):
        chain = prefixes(str(cell.method))
        for step in steps.itertuples(index=False):
            own = step.operation == "eval" and str(step.cell) == str(cell.cell)
            before = step.operation in ("train", "compress") and step.method in chain and _fits(step, cell)
            if own or before:
                lines.append((cell.cell, *(getattr(cell, name) for name in AXES), step.step))
    return lines


def _fits(step: Any, cell: Any) -> bool:
    """Whether every coordinate that the step depends on is the cell's."""
    pairs = [(getattr(step, name), getattr(cell, name)) for name in AXES[1:]]
    return all(own is None or wanted is None or own == wanted for own, wanted in pairs)
