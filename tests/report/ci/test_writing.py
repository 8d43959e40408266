"""The one function that commands call: the files asked for, whole, and lines for the terminal."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from harness.errors import StoreError
from harness.report.ci.annotations import annotation_lines
from harness.report.ci.markdown import COMMENT_BYTES
from harness.report.ci.writing import write_outputs


def test_what_is_asked_for_is_written(make_case, tmp_path):
    cases = [make_case("regression"), make_case("pass")]
    junit, markdown = tmp_path / "a" / "junit.xml", tmp_path / "b" / "summary.md"
    lines = write_outputs(cases, "One night", ["3 nights."], junit, markdown, True)
    assert lines == annotation_lines(cases) and len(lines) == 1
    assert ElementTree.parse(junit).getroot().get("failures") == "1"
    assert markdown.read_text().startswith("## One night\n") and "- 3 nights." in markdown.read_text()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["junit.xml", "summary.md"]


def test_what_cannot_be_accepted_is_not_advised(make_case, tmp_path):
    cases = [make_case("regression"), make_case("missing")]
    for acceptable in (True, False):
        files = tmp_path / "j.xml", tmp_path / "m.md"
        lines = write_outputs(cases, "t", [], *files, True, acceptable=acceptable)
        for text in ("\n".join(lines), *(file.read_text() for file in files)):
            assert ("harness accept" in text) == acceptable, text


def test_nothing_asked_for_is_nothing_written(make_case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert write_outputs([make_case("regression")], "t", [], None, None, False) == []
    assert not list(tmp_path.iterdir())


def test_a_comment_may_be_asked_for(make_case, tmp_path):
    cases = [make_case("pass", method=f"m{number}") for number in range(2000)]
    write_outputs(cases, "t", [], None, tmp_path / "long.md", False)
    write_outputs(cases, "t", [], None, tmp_path / "short.md", False, limit=COMMENT_BYTES)
    assert (tmp_path / "short.md").stat().st_size <= COMMENT_BYTES < (tmp_path / "long.md").stat().st_size


def test_hostile_text_is_written(every_hostile, hostile_case, tmp_path):
    cases = [hostile_case(text) for text in every_hostile]
    lines = write_outputs(cases, every_hostile[6], every_hostile, tmp_path / "j.xml", tmp_path / "m.md", True)
    assert len(lines) == 10
    assert len(list(ElementTree.parse(tmp_path / "j.xml").iter("testcase"))) == len(cases)
    assert (tmp_path / "m.md").read_text(encoding="utf-8").count("| regression |") == len(cases)


def test_a_place_that_cannot_be_written_is_one_clear_error(make_case, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write .*junit\.xml"):
        write_outputs([make_case()], "t", [], tmp_path / "file" / "junit.xml", None, False)
