"""Documents -> text: one HTML page that needs nothing but itself, and the same in Markdown with SVG files."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

import jinja2
import markupsafe

from harness.plain_text import clean, one_line
from harness.report.charts import javascript
from harness.report.document import Document, Explorer, Figure, Form

_SPECIAL = re.compile(r"([\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_]))")  # within a word an underscore is one
_LINE_START = re.compile(r"^(\d*)([#>+\-]|(?<=\d)[.)])(?=\s|$|[#>+\-])")


def html(document: Document) -> str:
    """The page. It works from disk: style, data and scripts are inside, and its policy forbids any connection."""
    draws = document.figures() or document.explorers()
    scripts = {"javascript": javascript() if draws else "", "embed": _resource("embed.js")}
    scripts["explorer"] = "".join(map(_resource, ("cells.js", "pareto.js", "explorer.js")))
    scripts["decision"] = "".join(map(_resource, ("cells.js", "choose.js", "decision.js")))
    template = _environment(True).get_template("page.html.j2")
    return template.render(document=document, css=_resource("page.css"), **scripts)


def markdown(document: Document) -> str:
    """The same report as Markdown that a code host shows, figures as links to the SVG files."""
    return from_template("page.md.j2", document=document)


def from_template(name: str, **given: Any) -> str:
    """Markdown by the template ``name``, which has the filters of a report's."""
    text = _environment(False).get_template(name).render(**given)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _environment(escape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", "templates"),
        autoescape=escape,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters.update(
        md=_escape_markdown, mdcode=_code_block, json=_script_json, breakable=_breakable, grouped=_grouped,
        prose=_prose, fenced=_fenced,
    )
    return environment


def _shown(value: Any) -> Any:
    """What a template writes, without what would reverse, hide or break text; markup of ours stays as it is."""
    return clean(value) if type(value) is str else value


def _code_block(text: Any) -> str:
    """Lines of an indented block of code: whatever Markdown takes for the end of a line begins an indented one."""
    return clean(text).replace("\n", "\n    ")


def _escape_markdown(text: Any) -> str:
    """Text that Markdown shows as it is, on one line; no markup in a name survives."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return _LINE_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", plain)) if plain != "-" else plain


def _fenced(text: Any) -> str:
    """Lines within a fence of three backticks, which they cannot end."""
    return clean(text).replace("```", "` ` `")


def _prose(text: Any) -> str:
    """Text of ours in which ``code`` stands between backticks, which stays code; the rest as other text."""
    parts = re.split(r"``?([^`|]+)``?", str(text))
    return "".join(
        f"`{one_line(part)}`" if place % 2 else _escape_markdown(f"x{part}x")[1:-1] for place, part in enumerate(parts)
    )


def _breakable(text: Any) -> markupsafe.Markup:
    """Escaped text that a narrow column may break after brackets, commas and underscores."""
    return markupsafe.Markup(re.sub(r"((?<!\s)\(|[,_=])(?=\w)", r"\1<wbr>", str(markupsafe.escape(clean(text)))))


def _grouped(text: Any) -> str:
    """Text in which no line ends within a number whose digits stand in groups of three."""
    return re.sub(r"(?<=\d) (?=\d{3}(?!\d))", "\u00a0", str(text))


def _script_json(block: Figure | Form | Explorer) -> str:
    """What the script of a block reads, as JSON that cannot end the script element around it."""
    if isinstance(block, Figure):
        told: Any = block.specification
    elif isinstance(block, Form):
        told = {"candidates": list(block.candidates), "bounds": dict(block.bounds)}
    else:
        told = {"metrics": list(block.metrics), "rows": list(block.rows)}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _resource(name: str) -> str:
    return resources.files("harness.report").joinpath("templates", name).read_text(encoding="utf-8")
