"""The page of a decision: the form over the candidates, the answer as asked, what would change it, and the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.analyse.choose import Amount, Candidate, Choice
from harness.metrics import metric as declared
from harness.report.candidates import Question, unmeasured
from harness.report.choice_words import bounds_in_words, change_in_words, miss_in_words, quantity, spread
from harness.report.content import Content
from harness.report.document import Block, Bullets, Column, Document, Form, Paragraph, Row, Section, Table, Value
from harness.report.numbers import plain
from harness.report.rests_on import rests_on
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

def build_decision(
    content: Content, question: Question, candidates: Sequence[Candidate], made: Choice, recipe: str | None, out: Path
) -> list[Path]:
    """Write the page below ``out``, two folders below that of all reports; return what was written."""
    document = compose_decision(content, question, candidates, made, recipe)
    return write_document(document, out, out.parent.parent, rests_on(content))


def compose_decision(
    content: Content, question: Question, candidates: Sequence[Candidate], made: Choice, recipe: str | None
) -> Document:
    """Put the page together."""
    winner = made.winner
    told = [
        "Nothing meets the constraints." if winner is None else f"Recommended: {winner.method} at {winner.precision}.",
        f"Goal: {made.goal}; {bounds_in_words(made)}.",
        f"Quality: {declared(question.metric).label} of {question.task}; best is {question.best.key[0]} at "
        f"{question.best.key[3]} with {plain(question.best_value)}.",
    ]
    if made.tied:
        told.append(f"Tied with it: {'; '.join(one.id for one in made.tied)}.")
    if any(one.predicted for one in candidates):
        told.append("Memory is predicted for another model than was measured; quality and time are as measured.")
    changes = [change_in_words(one) for one in made.changes] or ["No single constraint would."]
    form = Form([one.to_dict() for one in candidates], made.goal, made.constraints.given())
    sections = [
        Section("Decide", [form, Paragraph(EXPLANATION, "note")]),
        Section("The answer as asked", [_table(made, unmeasured(content, question))]),
        Section("What alone would change it", [Bullets(changes)]),
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


def _table(made: Choice, others: Mapping[str, str]) -> Table:
    columns = [
        Column("Method", "precision", "method"), Column("Answer", kind="reason"), Column("Quality loss"),
        Column("Memory"), Column("Making it"), Column("Decoding"),
    ]  # fmt: skip
    tied = {one.id for one in made.tied}
    rows = [
        _row(one, "recommended" if one is made.winner else "tied with it" if one.id in tied else "qualifies",
             "baseline" if one is made.winner else "")
        for one in made.ranked
    ]  # fmt: skip
    rows += [_row(one.candidate, miss_in_words(one), "skipped") for one in made.excluded]
    rows += [Row([Value(name, kind="method"), Value(how, kind="reason", span=5)], "failed")
             for name, how in others.items()]  # fmt: skip
    return Table(columns, rows)


def _row(one: Candidate, answer: str, kind: str) -> Row:
    values = [_value(name, getattr(one, name)) for name in ("loss", "memory", "seconds", "speed")]
    if one.predicted and one.memory is not None:
        values[1] = Value(values[1].text, "predicted")
    return Row([Value(one.method, one.precision, kind="method"), Value(answer, kind="reason"), *values], kind)


def _value(name: str, amount: Amount | None) -> Value:
    return Value() if amount is None else Value(quantity(name, amount.value), spread(name, amount))

