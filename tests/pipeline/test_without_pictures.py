"""A machine that measures and cannot draw: the records are kept, and one line says what a report needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import catalogue
from harness.cli import reporting, running
from harness.errors import UsageError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    here = catalogue._installed
    monkeypatch.setattr(catalogue, "_installed", lambda name: name != "altair" and here(name))


def test_after_a_sweep_it_is_said_and_nothing_is_written(
    bare: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running._report("mine", tmp_path / "results", tmp_path / "reports", as_json=False)
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "mine: no report can be written here: package 'altair' is not installed (pip install altair); "
        "the records are kept"
    ]
    assert not (tmp_path / "reports").exists()


def test_a_report_that_was_asked_for_is_refused(bare: None, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no report can be written here: package 'altair'"):
        reporting.content("mine", tmp_path)
