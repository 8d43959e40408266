"""Method expressions: ``a > b`` chains stages, ``a + m`` adds a modifier, ``a(x=1, y=[4, 16])`` sets parameters.

The first thing that happens to a method or task of a suite. This file knows the syntax only; whether the names mean
anything is decided in ``harness.plan.methods``. ``parse(str(method)) == method`` for every method.

::

    method := stage ('>' stage)*            value := '[' value, ... ']'      an axis
    stage  := call ('+' call)*                     | '(' method ')'          a method as a value
    call   := name ['(' name=value, ... ')']       | number | true | false | null | word | "text" | 'text'
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import NoReturn

from harness.errors import MethodError
from harness.plain_text import encodable

Value = "int | float | bool | str | None | Method | tuple[Value, ...]"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A name, or a path that says itself that it is one.
_WORD = re.compile(r"(?:(?:\.{1,2}/)+|/|~/)[A-Za-z0-9_][A-Za-z0-9_./-]*|[A-Za-z_][A-Za-z0-9_./-]*")
_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_SPACE = re.compile(r"\s*")
_CONSTANTS: dict[str, bool | None] = {
    "true": True, "false": False, "null": None, "True": True, "False": False, "None": None,
}  # fmt: skip
_DEEPEST = 20
LONGEST = 20_000  # characters of one expression


@dataclass(frozen=True)
class Call:
    """A name with the parameters that were written, in the order in which they were written."""

    name: str
    params: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        if not self.params:
            return self.name
        return f"{self.name}({', '.join(f'{key}={value_text(value)}' for key, value in self.params)})"

    def without(self, params: Collection[str]) -> Call:
        """The same without what it says of these parameters."""
        return Call(self.name, tuple(item for item in self.params if item[0] not in params))


@dataclass(frozen=True)
class Stage:
    """One technique and the modifiers that change how it trains."""

    call: Call
    modifiers: tuple[Call, ...] = ()

    def __str__(self) -> str:
        return " + ".join(map(str, (self.call, *self.modifiers)))


@dataclass(frozen=True)
class Method:
    """A chain of stages, first to last; never empty."""

    stages: tuple[Stage, ...]

    def __str__(self) -> str:
        return " > ".join(map(str, self.stages))

    def without(self, params: Collection[str]) -> Method:
        """The chain without what its stages say of these parameters."""
        return Method(tuple(replace(stage, call=stage.call.without(params)) for stage in self.stages))


def value_text(value: object) -> str:
    """Return a parameter's value as an expression writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        bare = _WORD.fullmatch(value) and value not in _CONSTANTS
        return value if bare else json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, Method):
        return f"({value})"
    return repr(value)


def parse(text: str) -> Method:
    """Read a method expression; ``MethodError`` with the column where it goes wrong."""
    reader = _Reader(text)
    method = reader.method(0)
    reader.end()
    return method


def parse_call(text: str) -> Call:
    """Read a single name with parameters (a task, an architecture, a device); ``MethodError`` with the column."""
    reader = _Reader(text)
    call = reader.call(0)
    reader.end()
    return call


class _Reader:
    """Recursive descent over one text; ``at`` is the next character to read."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise MethodError(
                f"{len(text)} characters are more than an expression may have ({LONGEST}): long lists of values go "
                "into params"
            )
        self.text = text
        self.at = 0

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        raise MethodError(message, text=self.text, column=self.at if at is None else at)

    def space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def take(self, mark: str) -> bool:
        self.space()
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def match(self, pattern: re.Pattern[str]) -> str | None:
        self.space()
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match.group()

    def found(self) -> str:
        return f"found '{self.text[self.at]}'" if self.at < len(self.text) else "the text ends"

    def end(self) -> None:
        self.space()
        if self.at < len(self.text):
            self.fail(f"expected '>', '+' or the end, {self.found()}")

    def method(self, depth: int) -> Method:
        if depth > _DEEPEST:
            self.fail(f"nested more than {_DEEPEST} deep")
        stages = [self.stage(depth)]
        while self.take(">"):
            stages.append(self.stage(depth))
        return Method(tuple(stages))

    def stage(self, depth: int) -> Stage:
        call = self.call(depth)
        modifiers = []
        while self.take("+"):
            modifiers.append(self.call(depth))
        return Stage(call, tuple(modifiers))

    def call(self, depth: int) -> Call:
        name = self.match(_NAME)
        if name is None:
            self.fail(f"expected a name, {self.found()}")
        if not self.take("("):
            return Call(name)
        params: dict[str, object] = {}
        while not self.take(")"):
            self.param(params, depth)
            if not self.take(","):
                if not self.take(")"):
                    self.fail(f"expected ',' or ')' in the parameters of '{name}', {self.found()}")
                break
        return Call(name, tuple(params.items()))

    def param(self, params: dict[str, object], depth: int) -> None:
        self.space()
        start = self.at
        key = self.match(_NAME)
        if key is None:
            self.fail(f"expected a parameter's name, {self.found()}")
        if key in params:
            self.fail(f"parameter '{key}' is given twice", start)
        if not self.take("="):
            self.fail(f"expected '=' after '{key}', {self.found()}")
        params[key] = self.value(depth + 1)

    def value(self, depth: int) -> object:
        if depth > _DEEPEST:
            self.fail(f"nested more than {_DEEPEST} deep")
        if self.take("["):
            return self.list(depth)
        if self.take("("):
            method = self.method(depth + 1)
            if not self.take(")"):
                self.fail(f"expected ')' after a method, {self.found()}")
            return method
        if self.text.startswith(('"', "'"), self.at):
            return self.string()
        number = self.match(_NUMBER)
        return self.word() if number is None else self.number(number)

    def list(self, depth: int) -> tuple[object, ...]:
        values: list[object] = []
        while not self.take("]"):
            values.append(self.value(depth + 1))
            if not self.take(","):
                if not self.take("]"):
                    self.fail(f"expected ',' or ']' in a list, {self.found()}")
                break
        if not values:
            self.fail("an empty list gives nothing to measure", self.at - 1)
        return tuple(values)

    def number(self, text: str) -> int | float:
        start = self.at - len(text)
        if _WORD.match(self.text, self.at):
            self.fail("a text that begins with a digit needs quotes", start)
        plain = text.replace("_", "")
        if plain.lstrip("+-").isdigit():
            if len(plain) > 400:
                self.fail("the number is too long", start)
            return int(plain)
        value = float(plain)
        if math.isinf(value):
            self.fail(f"the number {text} is too large", start)
        return value

    def word(self) -> object:
        start = self.at
        word = self.match(_WORD)
        if word is None:
            self.fail(f"expected a value, {self.found()}")
        if self.text.startswith("(", self.at):
            self.fail(f"a method as a value needs parentheses around it: ({word}(...))", start)
        return _CONSTANTS.get(word, word) if word in _CONSTANTS else word

    def string(self) -> str:
        start, quote = self.at, self.text[self.at]
        pattern = r'"(?:[^"\\]|\\.)*"' if quote == '"' else r"'[^']*'"
        match = re.compile(pattern, re.DOTALL).match(self.text, start)
        if match is None:
            self.fail("the quote is never closed", start)
        self.at = match.end()
        if quote == "'":
            return match.group()[1:-1]
        try:
            return encodable(json.loads(match.group(), strict=False))
        except ValueError:
            self.fail("a backslash that means nothing (write \\\\ for a backslash)", start)
