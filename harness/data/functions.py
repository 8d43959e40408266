"""Finds the documented functions of a Python module and cuts each into prompt and body; the views of ``source`` use it.

Prompt and body together are again a function that parses, in the order in which code is written: signature, docstring,
body. A model that was trained on code as text therefore knows the format already.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_DOCSTRING = 400


@dataclass(frozen=True)
class Function:
    """One function or method, dedented. ``paragraph`` is the docstring's first paragraph, empty where there is none."""

    module: str
    name: str
    line: int
    signature: str
    paragraph: str
    body: str

    @property
    def key(self) -> str:
        """What tells this function from every other one of the package."""
        return f"{self.module}:{self.line}:{self.name}"

    @property
    def prompt(self) -> str:
        """Signature and first paragraph of the docstring, ending with a newline."""
        prefix = "r" if "\\" in self.paragraph else ""
        text = "\n".join(f"    {line}" if line else "" for line in self.paragraph.splitlines()).strip()
        return f'{self.signature}\n    {prefix}"""{text}"""\n'

    @property
    def normalised_body(self) -> str:
        """The body without white space: what counts as the same body."""
        return "".join(self.body.split())

    @property
    def normalised_paragraph(self) -> str:
        """The paragraph in lower case without white space: what counts as the same docstring."""
        return "".join(self.paragraph.lower().split())


def functions_of(module: str, text: str) -> Iterator[Function]:
    """Yield the functions at the top level of a module and of its classes in order; nested ones are part of theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        tree = ast.parse(text)
    lines = text.split("\n")
    for node in _definitions(tree):
        function = _cut(module, node, lines)
        if function is not None:
            yield function


def parses(function: Function) -> bool:
    """Return whether prompt and body together are one valid function (a dedented multi-line string can break that)."""
    try:
        tree = ast.parse(function.prompt + function.body)
    except SyntaxError:
        return False
    return len(tree.body) == 1 and isinstance(tree.body[0], ast.FunctionDef | ast.AsyncFunctionDef)


def _definitions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef | ast.If | ast.Try):
            yield from _definitions(node)


def _cut(module: str, node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> Function | None:
    first, documented = node.body[0], ast.get_docstring(node) is not None
    body_line = (first.end_lineno or first.lineno) + 1 if documented else first.lineno
    header_end = first.lineno - 1
    if header_end < node.lineno or (documented and len(node.body) > 1 and node.body[1].lineno < body_line):
        return None  # `def f(): return 1` or `"""doc"""; x = 1`: nothing to cut at a line's end
    indent = node.col_offset
    signature = _dedent(lines[node.lineno - 1 : header_end], indent)
    body = _dedent(lines[body_line - 1 : node.end_lineno], indent)
    return Function(
        module=module,
        name=node.name,
        line=node.lineno,
        signature=signature,
        paragraph=_first_paragraph(ast.get_docstring(node) or ""),
        body=body,
    )


def _dedent(lines: list[str], indent: int) -> str:
    cut = [(line[indent:] if not line[:indent].strip() else line.lstrip()).rstrip() for line in lines]
    while cut and not cut[0]:
        cut.pop(0)
    return "\n".join(cut).rstrip()


def _first_paragraph(docstring: str) -> str:
    paragraph = docstring.strip().split("\n\n")[0].strip()
    if len(paragraph) <= LONGEST_DOCSTRING:
        return paragraph
    return paragraph[:LONGEST_DOCSTRING].rsplit(None, 1)[0].rstrip("\\")
