"""Annotations read back the way GitHub's runner reads a line of output."""

from __future__ import annotations

import pytest

from harness.analyse.case import ORDER
from harness.report.ci.annotations import annotation_lines


def read(line):
    """(command, properties, message) of a workflow command, as actions/runner's ActionCommand.TryParseV2 takes it."""
    assert line.startswith("::") and "\n" not in line and "\r" not in line
    head, message = line[2:].split("::", 1)
    command, _, rest = head.partition(" ")
    properties = dict(part.split("=", 1) for part in rest.split(",") if part)
    unescaped = {name: _plain(value, "%3A:", "%2C,") for name, value in properties.items()}
    return command, unescaped, _plain(message)


def _plain(text, *more):
    for escape in ("%0D\r", "%0A\n", *more, "%25%"):
        text = text.replace(escape[:3], escape[3:])
    return text


@pytest.mark.parametrize("status", ORDER)
def test_the_kind_follows_the_status(make_case, status):
    kinds = {**dict.fromkeys(("regression", "errored", "missing", "refused"), "error"),
             **dict.fromkeys(("insufficient", "machine moved"), "warning"),
             **dict.fromkeys(("accepted", "improvement"), "notice")}  # fmt: skip
    lines = annotation_lines([make_case(status)])
    assert [read(line)[0] for line in lines] == ([kinds[status]] if status in kinds else [])


def test_what_it_says(make_case):
    (line,) = annotation_lines([make_case("regression", suspects=("a: 1, b: 100%",))])
    title = "regression%3A train lora(rank=8) @ embedded%2C source%2C fp32%2C cpu(threads=2)%2C seed 0%3A step_seconds"
    assert line.startswith(f"::error title={title}::slower")
    assert "100%25" in line and "%0A" in line
    command, properties, message = read(line)
    assert command == "error"
    where = "embedded, source, fp32, cpu(threads=2), seed 0"
    assert properties == {"title": f"regression: train lora(rank=8) @ {where}: step_seconds"}
    assert message.splitlines() == [
        "slower since 3 nights", "100 ms -> 125 ms (+25 %, [20, 30] %)", "changed at the same time: a: 1, b: 100%",
        'if this is meant: harness accept 0a1b2c3d4e5f --reason "..."',
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (10, 10), (11, 10), (500, 10)])
def test_ten_of_a_kind_are_shown_and_the_rest_counted(make_case, count, lines):
    cases = [make_case(status, change=number / 100, why=f"number {number}")
             for status in ("missing", "insufficient", "improvement") for number in range(count)]  # fmt: skip
    found = [read(line) for line in annotation_lines([*cases, *[make_case("pass")] * 50])]
    for kind in ("error", "warning", "notice"):
        of_kind = [message for command, _, message in found if command == kind]
        assert len(of_kind) == lines
        assert of_kind[0].startswith(f"number {count - 1}\n"), "the worst comes first"
        assert of_kind[-1].startswith(f"{count - 9} more") == (count > 10)


def test_a_regression_is_never_pushed_out_by_errors(make_case):
    cases = [*[make_case("errored") for _ in range(40)], make_case("regression", why="this one")]
    assert read(annotation_lines(cases)[0])[2].startswith("this one")


def test_hostile_text_makes_one_command_each(hostile, hostile_case):
    for status in ("regression", "insufficient", "improvement"):
        (line,) = annotation_lines([hostile_case(hostile, status)])
        command, properties, message = read(line)
        assert command in ("error", "warning", "notice") and set(properties) == {"title"}
        assert "\x00" not in line and "\x1b" not in line and message
        assert len(properties["title"]) <= 200 and len(message) <= 4000
        line.encode()
