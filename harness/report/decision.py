"""The page of a decision: the form over the candidates, the answer as asked, what would change it, and the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.analyse.choose import Amount, Candidate, Choice, Excluded
from harness.metrics import metric as declared
from harness.report.candidates import Question
from harness.report.content import Content
from harness.report.document import Block, Bullets, Column, Document, Form, Paragraph, Row, Section, Table, Value
from harness.report.numbers import interval, plain, pretty
from harness.report.results import set_title
from harness.report.writing import write_document

EXPLANATION = (
    "Quality loss is the share by which a method is worse than the best of its table, with the 95 % interval of the "
    "paired difference (over items, and over seeds where there are several). Memory is the largest peak of making and "
    "of using it, the interpreter and its libraries included on a CPU, with the 10 % by which peaks of equal work "
    "differ. A bound is met where the whole interval lies within it; where the interval lies across it the answer is "
    "undecided, and nothing undecided is recommended. Tied: the difference from the recommended one cannot be told "
    "from none. Times and speeds are those of one run after another: small differences between them are not settled."
)
NAMES = {"memory": ("memory", "B"), "loss": ("quality loss", "share"), "seconds": ("time", "s"),
         "speed": ("speed", "1")}  # fmt: skip


def build_decision(
    content: Content, question: Question, candidates: Sequence[Candidate], made: Choice, recipe: str | None, out: Path
) -> list[Path]:
    """Write the page below ``out``; return what was written."""
    return write_document(compose_decision(content, question, candidates, made, recipe), out)


def compose_decision(
    content: Content, question: Question, candidates: Sequence[Candidate], made: Choice, recipe: str | None
) -> Document:
    """Put the page together."""
    winner = made.winner
    told = [
        "Nothing meets the constraints." if winner is None else f"Recommended: {winner.method} at {winner.precision}.",
        f"Goal: {made.goal}; {_bounds(made)}.",
        f"Quality: {declared(question.metric).label} of {question.task}; best is {question.best.key[0]} at "
        f"{question.best.key[3]} with {plain(question.best_value)}.",
    ]
    if made.tied:
        told.append(f"Tied with it: {'; '.join(one.id for one in made.tied)}.")
    if any(one.predicted for one in candidates):
        told.append("Memory is predicted for another model than was measured; quality and time are as measured.")
    form = Form([one.to_dict() for one in candidates], made.goal, made.constraints.given())
    sections = [
        Section("Decide", [form, Paragraph(EXPLANATION, "note")]),
        Section("The answer as asked", [_table(made)]),
        Section("What alone would change it", [Bullets(_changes(made) or ["No single constraint would."])]),
    ]
    if recipe is not None:
        sections.append(Section("In plain libraries", [Paragraph(recipe.strip(), "code")]))
    suite = str(content.plan.get("suite"))
    sections.append(Section("Where it comes from", [Paragraph(
        f"Suite {suite}, {set_title(question.which)}; installation {content.installation}. "
        f"To reproduce it: harness run {suite}; harness choose {suite}. Every number is in the report of the suite."
    )]))  # fmt: skip
    opening: list[Block] = [Paragraph("Which method, under which constraints?", "lead"), Bullets(told, "headline")]
    return Document(f"Decision: {suite}", opening, sections, up="../../index.html")


def _bounds(made: Choice) -> str:
    given = [f"{NAMES[name][0]} at most {pretty(value, NAMES[name][1], 3)}"
             for name, value in made.constraints.given().items()]  # fmt: skip
    return ", ".join(given) or "no constraint"


def _table(made: Choice) -> Table:
    columns = [
        Column("Method", "precision", "method"), Column("Answer", kind="reason"), Column("Quality loss"),
        Column("Memory"), Column("Making it"), Column("Decoding", "tokens/s"),
    ]  # fmt: skip
    tied = {one.id for one in made.tied}
    rows = [
        _row(one, "recommended" if one is made.winner else "tied with it" if one.id in tied else "qualifies",
             "baseline" if one is made.winner else "")
        for one in made.ranked
    ]  # fmt: skip
    rows += [_row(one.candidate, _miss(one), "skipped") for one in made.excluded]
    return Table(columns, rows)


def _row(one: Candidate, answer: str, kind: str) -> Row:
    memory = _value(one.memory, "B")
    if one.predicted and one.memory is not None:
        memory = Value(memory.text, "predicted")
    values = [_value(one.loss, "share"), memory, _value(one.seconds, "s"), _value(one.speed, "1")]
    return Row([Value(one.method, one.precision, kind="method"), Value(answer, kind="reason"), *values], kind)


def _value(amount: Amount | None, unit: str) -> Value:
    return Value() if amount is None else Value(pretty(amount.value, unit, 3), interval(amount.low, amount.high, unit))


def _miss(miss: Excluded) -> str:
    told = []
    for name, needed in miss.by.items():
        label, unit = NAMES[name]
        told.append(f"{label} {'not measured' if needed is None else f'up to {pretty(needed, unit, 3)}'}")
    return f"{'undecided' if miss.undecided else 'no'}: {', '.join(told)}"


def _changes(made: Choice) -> list[str]:
    found = []
    for one in made.changes:
        label, unit = NAMES[one.constraint]
        bound = pretty(one.bound, unit, 3)
        how = f"of {bound} or more" if one.looser else f"below {bound}"
        found.append(f"{label} {how}: {'nothing would qualify' if one.winner is None else one.winner.id}")
    return found
