"""Text beside annotations: nothing in it is obeyed by the runner that reads a workflow's output."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.report.ci.told import clean, in_json, one_line

COMMANDS = ["::error::x", "  ::error::x", "##[error]x", "a ##[error]x", "###[group]x", "##[##[a", ":::error::x",
            "\u00a0::error::x", "\x1c::error::x", "a\n::error::x", "a\r\n \t::error::x", "a\x0b::error::x"]  # fmt: skip


def obeyed(text: str) -> bool:
    """As actions/runner reads a line: ``TryParseV2`` trims what is before ``::``, ``TryParse`` looks for ``##[``."""
    lines = [line for whole in text.split("\n") for line in whole.split("\r")]
    return any(line.lstrip().startswith("::") or "##[" in line for line in lines)


@pytest.mark.parametrize("text", COMMANDS)
def test_no_command_is_left(text: str) -> None:
    assert not obeyed(one_line(text)) and not obeyed(clean(text))
    assert "".join(one_line(text).split()) == "".join(clean(" ".join(text.split())).split())
    assert not obeyed(in_json({"why": text})) and json.loads(in_json({"why": text})) == {"why": text}


@given(st.text(st.sampled_from("#[]: \n\t\x0b\u00a0\u2003ax"), max_size=12))
@example("##[")
def test_nor_in_any_text(text: str) -> None:
    assert not obeyed(one_line(text)) and not obeyed(clean(text))
    assert not obeyed(one_line(text, 3))


def test_other_text_is_as_it_was() -> None:
    for text in ("nightly/eval::loss::x", "# [a]", "#[a]", "a: b", "## a", ":"):
        assert one_line(text) == clean(text) == text
