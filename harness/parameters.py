"""Checking the parameters that a suite gives to a technique or task against its ``Params`` dataclass.

Used by the catalogue (so by the plan, and by a worker that reads a job file). Standard library only.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

from harness.errors import UsageError, did_you_mean

LARGEST = 2**53  # of a whole number: what a float still holds exactly, and every library takes
_MISFIT = object()


@dataclasses.dataclass(frozen=True)
class _Field:
    name: str
    hint: Any
    low: float | None
    high: float | None
    choices: tuple[Any, ...] | None


def build_params(params_type: type, given: Mapping[str, Any], *, owner: str) -> Any:
    """Return a ``Params`` with ``given`` and the defaults; ``UsageError`` for a wrong name, type, bound or choice.

    An int is taken where a float is wanted, a bool never where a number is, a list where a tuple is.
    """
    fields = _fields(params_type)
    checked = {}
    for name, value in given.items():
        if name not in fields:
            known = did_you_mean(name, fields) or f"; it has {', '.join(fields) or 'none'}"
            raise UsageError(f"'{owner}' has no parameter '{name}'{known}")
        checked[name] = _check(fields[name], value, owner)
    try:
        return params_type(**checked)
    except TypeError:
        needed = [item.name for item in dataclasses.fields(params_type) if _required(item)]
        missing = [name for name in needed if name not in checked]
        if not missing:
            raise
        raise UsageError(f"'{owner}' needs the parameter '{missing[0]}'") from None
    except ValueError as error:
        raise UsageError(f"'{owner}': {error}") from None


def _required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


@cache
def _fields(params_type: type) -> dict[str, _Field]:
    # The annotations are texts under `from __future__ import annotations`.
    hints = typing.get_type_hints(params_type)
    found = {}
    for item in dataclasses.fields(params_type):
        low, high, choices = (item.metadata.get(key) for key in ("low", "high", "choices"))
        found[item.name] = _Field(item.name, hints[item.name], low, high, choices)
    return found


def _check(wanted: _Field, value: Any, owner: str) -> Any:
    where = f"'{owner}': {wanted.name}={value!r}"
    fitted = _fit(wanted.hint, value)
    if fitted is _MISFIT:
        raise UsageError(f"{where} must be {_describe(wanted.hint)}")
    if fitted is None:
        return None
    for item in fitted if isinstance(fitted, tuple) else (fitted,):
        if isinstance(item, int) and abs(item) > LARGEST:
            raise UsageError(f"{wanted.name} of '{owner}' must be at most {LARGEST}")
        if wanted.choices is not None and item not in wanted.choices:
            hint = did_you_mean(str(item), map(str, wanted.choices))
            raise UsageError(f"{where} must be one of {', '.join(map(str, wanted.choices))}{hint}")
        # Written so that NaN, which compares false with everything, is refused.
        if wanted.low is not None and not item >= wanted.low:
            raise UsageError(f"{where} must be at least {wanted.low:g}")
        if wanted.high is not None and not item <= wanted.high:
            raise UsageError(f"{where} must be at most {wanted.high:g}")
    return fitted


def _fit(hint: Any, value: Any) -> Any:
    """Return ``value`` as ``hint`` wants it, or ``_MISFIT``."""
    if hint is float and type(value) is int:
        return float(value) if abs(value) <= LARGEST else _MISFIT
    if isinstance(hint, type) and not typing.get_origin(hint):
        return value if hint is type(value) or (hint is object) else _MISFIT
    if hint is Any:
        return value
    return _fit_compound(hint, value)


def _fit_compound(hint: Any, value: Any) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is None:
        return None if value is None else _MISFIT
    if origin in (typing.Union, types.UnionType):
        # An exact type first, so that 4 stays an int in "float | int".
        exact = [part for part in inner if part is type(value)]
        fits = (_fit(part, value) for part in [*exact, *inner])
        return next((fitted for fitted in fits if fitted is not _MISFIT), _MISFIT)
    if origin is typing.Literal:
        return value if any(value == one and type(value) is type(one) for one in inner) else _MISFIT
    if origin is tuple and isinstance(value, tuple | list):
        parts = [inner[0]] * len(value) if inner[1:] == (...,) else inner
        fitted = tuple(_fit(part, item) for part, item in zip(parts, value, strict=False))
        return _MISFIT if len(parts) != len(value) or any(item is _MISFIT for item in fitted) else fitted
    return _MISFIT


def _describe(hint: Any) -> str:
    """Words for a type, as an error message needs them."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(part) for part in inner)
    if origin is tuple:
        return f"a list of {_describe(inner[0])}" if inner[1:] == (...,) else "a list"
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, inner))
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    return words.get(hint, str(hint))
