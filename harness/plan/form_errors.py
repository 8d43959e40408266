"""Pydantic's complaints about a suite file as one line each in the harness's own words, with file and line."""

from __future__ import annotations

import typing
from typing import Any

import pydantic

from harness.errors import did_you_mean
from harness.plan import suite_file
from harness.plan.document import Document
from harness.plan.suite_file import SuiteForm

_FORMS: dict[str, type[pydantic.BaseModel]] = {
    "budget": suite_file.BudgetForm, "hardware": suite_file.HardwareForm, "limits": suite_file.LimitsForm,
    "models": suite_file.ModelForm, "data_sets": suite_file.DataForm, "exclude": suite_file.RuleForm,
    "sweeps": suite_file.SweepForm, "tune": suite_file.TuneForm,
}  # fmt: skip


def validate(document: Document) -> SuiteForm:
    """Return the document in the form of a suite; ``SuiteError`` for the first thing that does not fit."""
    if not isinstance(document.value, dict):
        document.fail("a suite is a mapping with keys like method: and tasks:" if document.value else "nothing in it")
    try:
        return SuiteForm.model_validate(document.value)
    except pydantic.ValidationError as error:
        first = _clearest(error.errors(include_url=False))
        path = _written(document.value, first["loc"])
        document.fail(_message(first, path), path)


def _clearest(errors: list[Any]) -> Any:
    """Where a value may be of several kinds, the complaint that went deepest is about the kind that was meant."""
    start = errors[0]["loc"][:2]
    return max((one for one in errors if one["loc"][:2] == start), key=lambda one: len(one["loc"]))


def _written(value: Any, location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Reduce pydantic's location, which names alternatives too, to the path in the file."""
    path: list[int | str] = []
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if isinstance(value, dict) and isinstance(part, str) and (part in value or last):
            path.append(part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            path.append(part)
            value = value[part]
    return tuple(path)


def _message(error: Any, path: tuple[int | str, ...]) -> str:
    where = ".".join(str(part) for part in path if isinstance(part, str)) or "the suite"
    match error["type"]:
        case "extra_forbidden":
            known = _keys(path[:-1])
            return f"unknown key '{path[-1]}'{did_you_mean(str(path[-1]), known) or '; known: ' + ', '.join(known)}"
        case "missing":
            return f"'{where}' is missing"
        case "too_short":
            return f"'{where}' is empty: it gives nothing to measure"
        case "value_error":
            return f"{where}: {error['ctx']['error']}"
        case "literal_error":
            text, given = error["ctx"]["expected"].replace("'", "").replace(" or ", ", "), str(error["input"])
            return f"{where}: '{given}' is not one of {text}{did_you_mean(given, text.split(', '))}"
    wanted = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{where}: {error['input']!r} should be {wanted}"


def _keys(path: tuple[int | str, ...]) -> list[str]:
    """Keys that may stand in the mapping at ``path``."""
    form: type[pydantic.BaseModel] = SuiteForm
    for part in path:
        form = _FORMS.get(str(part), form) if isinstance(part, str) else form
    return [item.alias or name for name, item in typing.cast(Any, form).model_fields.items()]
