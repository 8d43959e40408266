"""A data set made of rows with named columns: what local files and hub data sets have in common.

Rows come either already split or as one pile, which is dealt out by hash of what each row asks. Rows are read when the
first view is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from harness.data.columns import check_columns, item_of, key_of, views_from
from harness.data.prepared import check_view
from harness.data.splits import split_of
from harness.errors import DataError

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.1

Row = Mapping[str, Any]
Splits = dict[str, list[Row]]


class RowsDataset:
    """Rows under the views that their columns make; satisfies ``contract.Dataset``.

    ``fingerprint`` is the SHA-256 over the content and the mapping; ``read`` returns the rows, split or all as train.
    """

    expected = True

    def __init__(
        self,
        name: str,
        fingerprint: str,
        read: Callable[[], Splits],
        columns: Mapping[str, Any],
        view: str | None = None,
        chat: bool = False,
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.columns = columns
        self.chat = chat
        self._views = views_from(columns, view)
        self._read = read
        self._items: dict[tuple[str, str], list[Any]] = {}

    def views(self) -> tuple[str, ...]:
        """Names of the views that the columns make."""
        return self._views

    def view(self, name: str, split: str) -> list[Any]:
        """Items of one split in the order of the rows; ``DataError`` where the view is missing or empty."""
        check_view(self.name, name, split, self._views)
        found = self.items(name, split)
        if not found:
            raise DataError(f"data '{self.name}' has no item in the {split} split of the view '{name}'")
        return found

    def items(self, name: str, split: str) -> list[Any]:
        """The same without an error for an empty split. An item that an earlier split has is left out."""
        if (name, split) not in self._items:
            where = f"data '{self.name}', {split} row"
            rows = self._splits.get(split, [])
            if rows:
                check_columns(self.columns, rows[0], f"data '{self.name}'")
            made = (
                item_of(row, self.columns, name, f"{where} {index}", self.chat)
                for index, row in enumerate(rows, start=1)
            )
            self._items[name, split] = [item for item in made if item is not None]
        return list(self._items[name, split])

    @cached_property
    def _splits(self) -> Splits:
        splits = self._read()
        if not any(splits.values()):
            raise DataError(f"data '{self.name}' has no rows")
        if "validation" not in splits and "test" not in splits:
            return deal(splits["train"], self.columns, VALIDATION_SHARE, TEST_SHARE, self.name)
        if "validation" not in splits and splits.get("train"):
            dealt = deal(splits["train"], self.columns, VALIDATION_SHARE, 0.0, self.name)
            splits = {**splits, "train": dealt["train"], "validation": dealt["validation"]}
        return without_repeats(splits)


def deal(rows: Sequence[Row], columns: Mapping[str, Any], validation: float, test: float, name: str) -> Splits:
    """Deal rows into splits by hash of what they ask, so that equal questions meet in one split."""
    splits: Splits = {"train": [], "validation": [], "test": []}
    if rows:
        check_columns(columns, rows[0], f"data '{name}'")
    for row in rows:
        splits[split_of(key_of(row, columns), validation, test)].append(row)
    return splits


def without_repeats(splits: Splits) -> Splits:
    """Leave rows out of validation and test that an earlier split has, to the letter."""
    seen: set[str] = set()
    kept: Splits = {}
    for split in ("train", "validation", "test"):
        marks = [repr(sorted(row.items())) for row in splits.get(split, [])]
        kept[split] = [row for row, mark in zip(splits.get(split, []), marks, strict=True) if mark not in seen]
        seen.update(marks)
    return kept
