"""Plans and rows for people and pipes."""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.cli.terminal import print, print_masked, print_masked_json
from harness.errors import StoreError, UsageError
from harness.plan.plan import Plan
from harness.plan.sources import ModelSource, hub_word
from harness.redaction import redacted_text, values_of

SHOWN_UNREADABLE = 5


def show_plan(plan: Plan, elsewhere: Sequence[str] = ()) -> None:
    """Print the steps of a plan in the order in which they would run, with the reasons of what is skipped.

    ``elsewhere``: the other installations of which there are records, which are nothing that is done here.
    """
    print(f"{plan.suite.name}: {plan.suite.question}" if plan.suite.question else plan.suite.name)
    for step in plan.steps:
        what = step.coordinates["task"] or step.operation
        seed = "" if step.seed is None else f" seed={step.seed}"
        text = f"{step.method_text} @ {step.model_word} {step.data.word} {step.precision}{seed}"
        reason = f"  ({step.reason})" if step.reason else ""
        print(f"  {step.state:<9} {what:<32} {text}{reason}")
    for line in doubts_in_words(plan):
        print(f"  {line}")
    for line in missing_in_words(plan):
        print(f"  {line}")
    counts = plan.counts()
    shared = Counter(len(step.cells) > 1 for step in plan.steps)[True]
    print(
        f"{counts['cells']} cells, {counts['steps']} steps ({shared} shared by several cells): "
        f"{counts['runnable']} to run, {counts['done']} done already, {counts['skipped']} skipped"
    )
    if plan.waiting:
        print(f"{len(plan.waiting)} more cells wait for {len(plan.trials)} trials that choose their parameters")
    for one in elsewhere:
        print(f"measured elsewhere: `harness report {plan.suite.name} --installation {one}` shows what came out")


def missing_in_words(plan: Plan) -> list[str]:
    """One line for each model and data set that is to be fetched first."""
    found = []
    for source in plan.missing:
        unknown = "; until then nothing is left out for its kind" if isinstance(source, ModelSource) else ""
        how = f"`harness prepare {plan.suite.file}` fetches it{unknown}"
        found.append(f"not here yet: {hub_word(source.spec)}: {how}")
    return found


def doubts_in_words(plan: Plan) -> list[str]:
    """One line for each kind of step that is predicted not to fit this machine."""
    found: dict[str, str] = {}
    for step in plan.steps:
        if (size := plan.doubts.get(step.id)) is not None:
            what = step.coordinates["task"] or step.operation
            text = f"{what} of {step.method_text} @ {step.model_word} {step.precision}"
            found[text] = f"warning: {text} is predicted to need {size / 1e9:.3g} GB, more than this machine has"
    return list(found.values())


def show_rows(results: Path, suite: str | None, csv: str | None, parquet: Path | None, *, as_json: bool) -> None:
    """Print or write the rows of one suite or of all."""
    from harness.results.rows import load, to_parquet
    from harness.results.spreadsheet import with_texts

    if not results.is_dir():
        raise UsageError(f"results folder {results} does not exist; run a suite first")
    frame = load(results, suite)
    warn_unreadable(frame.attrs.get("unreadable", ()))
    if frame.empty:
        raise UsageError(f"no records in {results}{f' for suite {suite!r}' if suite else ''}; run a suite first")
    if parquet is not None:
        to_parquet(frame, parquet)
    own = values_of(os.environ)
    frame = with_texts(frame, lambda text: redacted_text(text, own))
    if csv is not None:
        _give_csv(frame, csv)
    if as_json:
        print_masked_json(f"[{','.join(_rows_as_json(frame))}]")
    elif csv is None:
        _show_summary(frame)


def _rows_as_json(frame: Any) -> Iterator[str]:
    """Each row as an object, its numbers to the last digit."""
    columns = [frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns]
    return (json.dumps(dict(zip(frame.columns, row, strict=True))) for row in zip(*columns, strict=True))


def _give_csv(frame: Any, csv: str) -> None:
    from harness.results.rows import to_csv

    if csv != "-":
        try:
            to_csv(frame, Path(csv))
        except OSError as error:
            raise StoreError(f"cannot write {csv}: {error.strerror or error}; choose another place") from None
        return
    text = io.StringIO()
    to_csv(frame, text)
    print_masked(text.getvalue())


def warn_unreadable(lines: Sequence[str]) -> None:
    """Say on standard error which files are in no number, and why; nothing where all were read."""
    if not lines:
        return
    print(f"{len(lines)} files could not be read and are in no number:", file=sys.stderr)
    for line in lines[:SHOWN_UNREADABLE]:
        print(f"  {line}", file=sys.stderr)
    if len(lines) > SHOWN_UNREADABLE:
        print(f"  and {len(lines) - SHOWN_UNREADABLE} more", file=sys.stderr)


def _show_summary(frame: Any) -> None:
    print(f"{len(frame)} rows of {frame['record'].nunique()} records; write them with --csv FILE or --parquet FILE")
    for suite, rows in frame.groupby("suite", observed=True):
        states = rows[rows["metric"] == "status"]["status"].value_counts()
        print(f"  {suite}: " + ", ".join(f"{count} {status}" for status, count in states.items() if count))
