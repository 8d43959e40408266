"""Verdicts written to the files that a CI system reads: the one function that commands call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.analyse.case import Case
from harness.redaction import redacted
from harness.report.ci.annotations import annotation_lines
from harness.report.ci.junit import junit as junit_of
from harness.report.ci.markdown import SUMMARY_BYTES, summary
from harness.results.record import write_file


def write_outputs(
    cases: Sequence[Case], title: str, facts: Sequence[str], junit: Path | None, markdown: Path | None,
    annotations: bool, limit: int = SUMMARY_BYTES, acceptable: bool = True,
) -> list[str]:  # fmt: skip
    """Write what was asked for, each file whole or not at all, and return the annotation lines, for the CLI to print.

    ``limit`` bounds the Markdown in bytes: ``COMMENT_BYTES`` where it is posted as a comment. ``acceptable``: `harness
    accept` knows these series. ``StoreError`` names a file that cannot be written.
    """
    cases, title, facts = [_masked(case) for case in cases], redacted(title), redacted(list(facts))
    if junit is not None:
        write_file(junit, junit_of(cases, title, acceptable=acceptable))
    if markdown is not None:
        write_file(markdown, summary(cases, title, facts, limit, acceptable=acceptable))
    return annotation_lines(cases, acceptable=acceptable) if annotations else []


def _masked(case: Case) -> Case:
    """A case without secrets; masked before it is escaped, which would hide them from whoever looks."""
    return Case.from_dict(redacted(case.to_dict()))
