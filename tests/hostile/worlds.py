"""Small worlds for the tests of hostile input: a results folder, a run of the command, and what lies around them."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

TEXTS = ("method", "stage", "technique", "task", "model", "data", "precision", "hardware")


def written(results: Path, records: Sequence[Mapping[str, Any]], suite: str = "s", plan: Any = None) -> Path:
    """A results folder with these records of one installation."""
    for record in records:
        folder = results / suite / str(record["environment"]["installation"] or "none")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{record['record']}.json").write_text(json.dumps(record))
        if plan is not None:
            (folder / "plan.json").write_text(json.dumps(plan))
    return results


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """The command in this process: its exit code and what it wrote; anything but a clean end is the test's failure."""
    from harness.cli import main

    before = sys.argv
    sys.argv = ["harness", *map(str, arguments)]
    try:
        main()
        code: Any = 0
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    told = capsys.readouterr()
    return int(code or 0), told.out, told.err


def tree(folder: Path) -> dict[str, str]:
    """Every file, folder and link below a folder, with a digest of what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder"
    return found


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every leaf of nested mappings and lists."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path
