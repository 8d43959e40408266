"""A YAML file as plain values and the line of every key: the safe loader, with limits and without YAML's surprises.

Only null, true, false, numbers and text are recognised (no dates, no ``yes``), and ``1e-3`` is a number. A file that is
too large, nested too deep or built to explode through aliases is refused before anything is built from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from harness.errors import SuiteError
from harness.plain_json import NotPlain, content_of
from harness.plain_text import one_line
from harness.plain_yaml import DEEPEST, beyond_limits

LARGEST_BYTES = 1_000_000
MOST_NODES = 300_000
LARGEST_INT = 2**53  # what a float still holds exactly, and every library takes

_CParser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
# What the loader itself gives to plain YAML; everything else was written as a tag.
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)
_QUOTED = frozenset("'\"|>")
_NOTHING = ("", "~", "null")
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """The values of a file, and where each key and list item stands."""

    file: str
    value: Any
    lines: dict[Path_, int]

    def line(self, path: Path_) -> int | None:
        """Line of ``path``, or of the nearest thing around it that has one."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None

    def fail(self, message: str, path: Path_ = ()) -> NoReturn:
        """Raise a ``SuiteError`` at ``path``."""
        raise SuiteError(message, file=self.file, line=self.line(path))


def read(file: Path, texts: Collection[str] = ()) -> Document:
    """Read one YAML file; ``SuiteError`` with file and line where it cannot be. Values of the keys ``texts`` stay text
    whatever they look like (an id such as 12e3).
    """
    try:
        text = content_of(file, LARGEST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise SuiteError("there is no such file", file=str(file)) from None
    except NotPlain as error:
        raise SuiteError(f"cannot be read: {error}", file=str(file)) from None
    except UnicodeDecodeError:
        raise SuiteError("not a text file (UTF-8)", file=str(file)) from None
    except OSError as error:
        raise SuiteError(f"cannot be read: {error.strerror}", file=str(file)) from None
    return read_text(text, str(file), texts)


def read_text(text: str, file: str, texts: Collection[str] = ()) -> Document:
    """Read YAML from ``text``; ``file`` is named in errors."""
    try:
        if told := beyond_limits(text, _CParser):
            raise SuiteError(told[0], file=file, line=told[1])
        node = yaml.compose(text, Loader=_CParser)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = one_line(error.problem or error, 200).rstrip(".")
        raise SuiteError(f"not valid YAML: {problem}", file=file, line=mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, UnicodeEncodeError) as error:  # the latter of half of a UTF-16 pair
        raise SuiteError(f"not valid YAML: {one_line(str(error).splitlines()[0], 200)}", file=file) from None
    reader = _Reader(file, texts)
    value = None if node is None else reader.value(node, ())
    return Document(file, value, reader.lines)


class _Reader:
    """Builds values from nodes and notes lines; counts what it builds, so that aliases cannot multiply without end."""

    def __init__(self, file: str, texts: Collection[str]) -> None:
        self.file = file
        self.texts = texts
        self.lines: dict[Path_, int] = {}
        self.built = 0

    def fail(self, message: str, node: yaml.Node) -> NoReturn:
        raise SuiteError(message, file=self.file, line=node.start_mark.line + 1)

    def value(self, node: yaml.Node, path: Path_) -> Any:
        self.built += 1
        if self.built > MOST_NODES:
            self.fail(f"more than {MOST_NODES} values (through aliases?)", node)
        if len(path) > DEEPEST:
            self.fail(f"nested more than {DEEPEST} deep (an alias of itself?)", node)
        if node.tag not in _TAGS:
            self.fail(f"the tag {one_line(node.tag, 60)} is not allowed", node)
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        if path and path[-1] in self.texts:
            return None if node.style not in _QUOTED and node.value in _NOTHING else node.value
        return self.scalar(node)

    def mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.fail("a key must be a plain text", key_node)
            key = key_node.value
            if key == "<<" and key_node.style not in _QUOTED:
                merged = self.merge(value_node, path) | merged
                continue
            if key in found:
                self.fail(f"the key '{one_line(key, 60)}' is written twice", key_node)
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, (*path, key))
        return merged | found

    def merge(self, node: yaml.Node, path: Path_) -> dict[str, Any]:
        value = self.value(node, (*path, "<<"))
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            self.fail("'<<' takes a mapping or a list of mappings", node)
        return {key: item for part in reversed(parts) for key, item in part.items()}

    def scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        if node.style in _QUOTED:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.fullmatch(text):
            if len(text) > 400 or abs(value := int(text.replace("_", ""))) > LARGEST_INT:
                self.fail(f"the number {text[:20]} is too large", node)
            return value
        if _FLOAT.fullmatch(text):
            number = float(text.replace("_", ""))
            if not math.isfinite(number):
                self.fail(f"the number {text[:20]} is too large", node)
            return number
        return text
