"""What the fields of each view are called, and how the columns of a file or hub data set fill them.

``columns`` of a spec maps a field to a column: ``{prompt: question, answer: answer}``. A list of columns is joined by
line breaks, empty ones left out. The fields that are mapped decide which views there are. A prompt of the views
``instructions`` and ``pairs`` may be a conversation, and what answers it messages, or the whole conversation: its last
message is the answer. ``chat: true`` makes a user's message of a prompt that is text, so that it is read as a
conversation too: by the chat template of a model that has one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from harness.data.conversations import asked_of, conversation, last_message, said_by_user
from harness.errors import DataError, did_you_mean

VIEW_FIELDS: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "instructions": ("prompt", "answer"),
    "choices": ("prompt", "options", "label"),
    "labels": ("text", "label"),
    "text_to_text": ("source", "target"),
    "pairs": ("prompt", "chosen", "rejected"),
}
FIELDS = tuple(dict.fromkeys(field for fields in VIEW_FIELDS.values() for field in fields))
# What stands between a source and its target, where one model reads both as one text.
SOURCE_END = "\n"
ASKING = ("instructions", "pairs")  # views whose prompts may be conversations
KEY_FIELDS = ("prompt", "source", "text")  # what is asked: items that share it must share a split

Columns = Mapping[str, Any]


def columns_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked mapping of a spec; without one, a column ``text`` is the text."""
    view = None if spec.get("view") is None else str(spec["view"])
    if view is not None and view not in VIEW_FIELDS:
        raise DataError(f"unknown view '{view}'{did_you_mean(view, VIEW_FIELDS)} (known: {', '.join(VIEW_FIELDS)})")
    fields = VIEW_FIELDS[view] if view else ("text",)
    columns = dict(spec.get("columns") or {field: field for field in fields})
    for field, column in columns.items():
        if field not in FIELDS:
            hint = did_you_mean(field, FIELDS)
            raise DataError(f"columns: unknown field '{field}'{hint} (known: {', '.join(FIELDS)})")
        if not (isinstance(column, str) or _is_list_of_names(column)):
            raise DataError(f"columns: '{field}' must be the name of a column or a list of names, not {column!r}")
    return columns


def read_as(spec: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """What beside the rows decides the items, for a fingerprint: the mapping, and whether prompts become messages."""
    return {**columns, "chat": True} if spec.get("chat") else dict(columns)


def views_from(columns: Columns, view: str | None = None) -> tuple[str, ...]:
    """Return the views whose every field is mapped, or just ``view``; ``DataError`` where a field of it is missing."""
    found = tuple(name for name, fields in VIEW_FIELDS.items() if set(fields) <= set(columns))
    if view is not None:
        missing = [field for field in VIEW_FIELDS[view] if field not in columns]
        if missing:
            raise DataError(f"columns: the view '{view}' needs the field '{missing[0]}' too")
        return (view,)
    if not found:
        known = "; ".join(f"{name}: {', '.join(fields)}" for name, fields in VIEW_FIELDS.items())
        raise DataError(f"columns: {', '.join(columns)} make no view ({known})")
    return found


def check_columns(columns: Columns, present: Iterable[str], where: str) -> None:
    """Raise ``DataError`` with the nearest name where ``where`` lacks a column that is mapped."""
    names = list(present)
    for column in used_columns(columns):
        if column not in names:
            raise DataError(
                f"{where} has no column '{column}'{did_you_mean(column, names)} "
                f"(it has: {', '.join(names) or 'none'}; map others with `columns:`)"
            )


def used_columns(columns: Columns) -> tuple[str, ...]:
    """Every column that is mapped, once."""
    names = [name for column in columns.values() for name in ([column] if isinstance(column, str) else column)]
    return tuple(dict.fromkeys(names))


def key_of(row: Mapping[str, Any], columns: Columns) -> str:
    """What decides a row's split: what is asked, so that two answers to one question stay together."""
    field = next((name for name in KEY_FIELDS if name in columns), next(iter(columns)))
    value = _joined(row, columns[field])
    return str(asked_of(value) if field == "prompt" and isinstance(value, list) else value)


def check_chat(spec: Mapping[str, Any], views: Iterable[str]) -> None:
    """Raise ``DataError`` where a spec says ``chat`` and no view has a prompt that could be a message."""
    if spec.get("chat") and not set(ASKING) & set(views):
        raise DataError(f"chat: is for prompts of the views {' and '.join(ASKING)}, this has: {', '.join(views)}")


def item_of(row: Mapping[str, Any], columns: Columns, view: str, where: str, chat: bool = False) -> Any:
    """Return a row as an item of ``view``, or None where one of its texts is empty; ``where`` names it in errors."""
    item: dict[str, Any] = {}
    for field in VIEW_FIELDS[view]:
        value = _joined(row, columns[field])
        item[field] = _read(view, field, value, f"{where}, column '{columns[field]}'")
    if chat and view in ASKING and item["prompt"]:
        item["prompt"] = said_by_user(item["prompt"])
    if view == "pairs":
        return item  # an empty side is told to whoever trains on it: it is a fault of the data
    if not all(item[field] for field in item if field != "label"):
        return None
    if view == "choices" and not 0 <= item["label"] < len(item["options"]):
        raise DataError(f"{where}: label {item['label']} is not one of the {len(item['options'])} options (from 0)")
    return item["text"] if view == "text" else item


def _read(view: str, field: str, value: Any, where: str) -> Any:
    if field == "options":
        return _options(value, where)
    if field == "label" and view == "choices":
        try:
            return int(value)
        except (TypeError, ValueError):
            raise DataError(f"{where}: {value!r} is not the number of an option") from None
    if field == "label" and isinstance(value, int):
        return str(value)
    if value is None:
        return ""
    if view in ASKING and not isinstance(value, str):
        if field == "prompt":
            return conversation(asked_of(value) if view == "instructions" else value, where)
        value = last_message(value, where)
    if not isinstance(value, str):
        raise DataError(f"{where} holds {type(value).__name__}, not text")
    return value if value.strip() else ""


def _options(value: Any, where: str) -> list[str]:
    try:
        found = json.loads(value) if isinstance(value, str) else list(value)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, list) or len(found) < 2 or not all(isinstance(option, str) for option in found):
        raise DataError(f"{where} must hold a list of at least two texts")
    return found


def _joined(row: Mapping[str, Any], column: Any) -> Any:
    if isinstance(column, str):
        return row.get(column)
    return "\n".join(str(row[name]) for name in column if row.get(name) not in (None, ""))


def _is_list_of_names(column: Any) -> bool:
    return isinstance(column, list) and bool(column) and all(isinstance(name, str) for name in column)
