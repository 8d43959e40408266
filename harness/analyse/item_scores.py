"""Per-item scores of steps: found by step and set, averaged over the seeds of a group.

Every column is converted once and steps are places in it: a sweep of thousands of cells asks for tens of thousands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy
import numpy.typing
import pandas

from harness.analyse.paired import RECIPES, Numbers, Recipe
from harness.analyse.statistics import Interval, bootstrap_ratio

Places = numpy.typing.NDArray[numpy.intp]


class ItemScores:
    """Looks up the per-item scores of steps in the frame of ``harness.results.items``."""

    def __init__(self, items: pandas.DataFrame) -> None:
        self._items = _Columns(items)
        self._places = _places(items)
        self._known: dict[tuple[str, tuple[str, ...]], pandas.DataFrame | None] = {}

    def scores(self, metric: str, steps: Iterable[str]) -> pandas.DataFrame | None:
        """Columns ``amount`` and ``weight`` by item, the amount averaged over ``steps`` (seeds); None without items."""
        key = (metric, tuple(steps))
        if key not in self._known:
            self._known[key] = self._look_up(*key)
        return self._known[key]

    def _look_up(self, metric: str, steps: tuple[str, ...]) -> pandas.DataFrame | None:
        recipe = RECIPES.get(metric)
        if recipe is None:
            return None
        places = [found for step in steps if (found := self._places.get((step, recipe.set))) is not None]
        if not steps or len(places) < len(steps) or recipe.amount not in self._items:
            return None
        return _averaged(self._items, places, recipe)

    def interval(self, metric: str, steps: Iterable[str]) -> Interval | None:
        """The metric with its bootstrap interval over items, or None where it has no items."""
        found = self.scores(metric, steps)
        if found is None or found.empty:
            return None
        return _transformed(bootstrap_ratio(found["amount"].tolist(), found["weight"].tolist()), RECIPES[metric])


class _Columns:
    """The columns of a frame as arrays, each converted once: numbers, and the items' names."""

    def __init__(self, frame: pandas.DataFrame) -> None:
        self._frame = frame
        self._known: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._frame

    def numbers(self, name: str, places: Places) -> Numbers:
        if name not in self._known:
            self._known[name] = self._frame[name].to_numpy(dtype=float)
        return self._known[name][places]  # type: ignore[no-any-return]

    def items(self, places: Places) -> Any:
        if "item" not in self._known:
            self._known["item"] = self._frame["item"].to_numpy(dtype=object)
        return self._known["item"][places]


def _places(items: pandas.DataFrame) -> dict[tuple[str, str], Places]:
    """Where the rows of each step and set are."""
    if not len(items):
        return {}
    keys = items[["step", "set"]].astype(str)
    grouped: Any = items.groupby([keys["step"], keys["set"]]).indices
    return {(str(step), str(of)): places for (step, of), places in grouped.items()}


def _averaged(items: _Columns, places: Sequence[Places], recipe: Recipe) -> pandas.DataFrame:
    if (alike := _alike(items, places, recipe)) is not None:
        return alike
    seeds = [_of_one(items, one, recipe) for one in places]
    if len(seeds) == 1:
        return seeds[0]
    first = seeds[0]
    if all(first.index.equals(other.index) for other in seeds[1:]):
        return pandas.DataFrame(sum(seed.to_numpy() for seed in seeds) / len(seeds), first.index, first.columns)
    whole = pandas.concat(seeds).groupby(level=0, sort=False)
    return whole.mean()[whole.size() == len(seeds)]


def _of_one(items: _Columns, places: Places, recipe: Recipe) -> pandas.DataFrame:
    """The scores of one seed, without items that miss one."""
    weight = items.numbers(recipe.weight, places) if recipe.weight else numpy.ones(len(places))
    amount = items.numbers(recipe.amount, places) * recipe.factor * (weight if recipe.amount_is_mean else 1.0)
    document = items.numbers("document", places) if "document" in items else math.nan
    index = pandas.Index(items.items(places), dtype=object, name="item")
    found = pandas.DataFrame({"amount": amount, "weight": weight, "document": document}, index)
    return found.dropna(subset=["amount", "weight"])


def _alike(items: _Columns, places: Sequence[Places], recipe: Recipe) -> pandas.DataFrame | None:
    """The average where all have the same items in the same order and no score is missing, which is the usual case."""
    names = items.items(places[0])
    if any(len(other) != len(names) or (items.items(other) != names).any() for other in places[1:]):
        return None
    columns = {}
    for name in filter(None, (recipe.amount, recipe.weight)):
        columns[name] = numpy.array([items.numbers(name, one) for one in places])
        if numpy.isnan(columns[name]).any():
            return None
    weights = columns[recipe.weight] if recipe.weight else numpy.ones_like(columns[recipe.amount])
    amounts = columns[recipe.amount] * recipe.factor * (weights if recipe.amount_is_mean else 1.0)
    document = items.numbers("document", places[0]) if "document" in items else math.nan
    for one in places[1:] if "document" in items else ():
        if not numpy.array_equal(items.numbers("document", one), document, equal_nan=True):
            return None
    found = {"amount": sum(amounts) / len(places), "weight": sum(weights) / len(places), "document": document}
    return pandas.DataFrame(found, pandas.Index(names, dtype=object, name="item"))


def _transformed(found: Interval | None, recipe: Recipe) -> Interval | None:
    if found is None or recipe.transform is None:
        return found
    try:
        low = None if found.low is None else recipe.transform(found.low)
        high = None if found.high is None else recipe.transform(found.high)
        return Interval(recipe.transform(found.estimate), low, high, found.n, found.kind)
    except OverflowError:  # a loss that no model has, in exp
        return None
