"""Every link of the README and of docs leads somewhere; every command in them is one, with options that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer

from harness.cli.commands import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """Names that links into a page jump to, as code hosts make them of headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(page: Path) -> Iterator[str]:
    """Links of a page that lead nowhere."""
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            yield target


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b\n[a](#a-b) [b](#nowhere) [c](page.md#a-b) [d](gone.md) [e](https://example.org/gone)\n")
    assert list(broken(page)) == ["#nowhere", "gone.md"]


def test_every_document_is_reached_from_the_index() -> None:
    """A page that nothing leads to is read by nobody."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.is_file() or page.suffix != ".md":
            continue
        reached.add(page)
        targets = re.findall(r"\]\(([^)\s#]+)", FENCE.sub("", page.read_text()))
        waiting += [(page.parent / target).resolve() for target in targets if ":" not in target]
    decisions = ROOT / "docs" / "decisions"
    assert [page for page in PAGES if page not in reached and page.parent != decisions] == []


def lines_of(page: Path) -> Iterator[list[str]]:
    """The shell lines of a page as words, continued lines joined, assignments before a command left out."""
    for text in re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"\w+=", words[0]):
                words = words[1:]
            if words:
                yield words
    # The pages of techniques have whole commands in a table; in prose such a span may leave out what the reader knows.
    yield from map(shlex.split, re.findall(r"^\| `(harness [^`]*)`", page.read_text(), re.MULTILINE))


def parse(words: list[str]) -> dict[str, object]:
    """Parse a command of the harness as it would be, without doing it; click's error where it is none."""
    command = typer.main.get_command(app)
    context = command.make_context("harness", list(words), resilient_parsing=False)
    rest = [*context._protected_args, *context.args]
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
        rest = [*context._protected_args, *context.args]
    return dict(context.params)


@every_page
def test_commands_are_commands(page: Path) -> None:
    made = set(re.findall(r"^name: (\S+)$", page.read_text(), re.MULTILINE))
    files = set(re.findall(r"^`(\S+\.(?:yaml|py))`", page.read_text(), re.MULTILINE))
    for words in lines_of(page):
        if words[0] != "harness":
            continue
        told = parse(words[1:])
        suite = told.get("suite")
        for name in [suite] if isinstance(suite, str) else suite or ():
            there = (ROOT / "suites" / f"{name}.yaml").is_file() or (ROOT / name).is_file()
            assert there or name in made | files, f"{' '.join(words)}: no suite {name}"


def test_a_command_that_is_none_is_found() -> None:
    for words in (["chose", "quick"], ["choose", "quick", "--memry", "2GB"], ["run", "quick", "--remeasure", "9"]):
        with pytest.raises(Exception, match=r"No such|not in the range"):
            parse(words)


@every_page
def test_scripts_tests_and_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"`make ([a-z-]+)`", page.read_text())
    for words in lines_of(page):
        targets += words[1:] if words[0] == "make" else []
        for word in words[1:] if words[0] == "python" else ():
            assert not word.startswith(("scripts/", "tests/")) or (ROOT / word).exists(), word
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no make {target}"
