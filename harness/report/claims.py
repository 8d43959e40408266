"""The page of claims: each published statement beside what was measured here, with a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from harness.analyse.claimed import Judged
from harness.analyse.evidence import Evidence
from harness.analyse.verdicts import PAIRS, Verdict
from harness.claims import DERIVED, Side
from harness.metrics import METRICS
from harness.report.document import Block, Bullets, Column, Document, Paragraph, Row, Section, Table, Value
from harness.report.numbers import interval, plain, pretty
from harness.report.writing import write_document
from harness.results.named import Key

QUESTION = "Which published statements about techniques hold here?"
HOW = (
    "A verdict compares a measured ratio, with its 95 % interval, with what was claimed; of a saving that was "
    "published as a range its weakest end. Confirmed: the whole interval lies within the claim. Direction only: on "
    "the claimed side of 1, and not the figure. Contradicted: on the other side. Inconclusive: the interval contains "
    f"the figure or no effect, a ratio of times comes from fewer than {PAIRS} interleaved pairs of runs, or other "
    "ratios say the opposite. Where a claim speaks of larger models or of another kind of machine than were measured, "
    "nothing is contradicted, and no more than its direction confirmed; a saying that names no size speaks of every "
    "size, and one contradicts it. Over items and seeds the interval is the wider of the two; of two seeds it holds "
    "both, which is less than 95 % of what further seeds would give. Judge wins: twice the share of prompts at which "
    "a judge prefers the first side's answer, so that 1 is even, 2 always. What is predicted at scale is the memory "
    "model's arithmetic on a published shape, on GPUs; it decides nothing."
)
ORDER: tuple[Verdict, ...] = ("contradicted", "confirmed", "direction only", "inconclusive", "not testable here")


def claims_page(found: Sequence[Judged]) -> Document:
    """The document with one table per verdict."""
    counts = Counter(one.judgement.verdict for one in found)
    told = [f"{len(found)} claims: {', '.join(f'{counts[name]} {name}' for name in ORDER if counts[name])}."]
    told += [_sentence(one) for one in found if one.judgement.verdict == "contradicted"]
    sections = [_section(name, [one for one in found if one.judgement.verdict == name]) for name in ORDER]
    opening: list[Block] = [Paragraph(QUESTION, "lead"), Bullets(told, "headline")]
    how = Section("How a verdict is reached", [Paragraph(HOW, "note")])
    shown = [section for section in sections if section.blocks]
    return Document("verdicts", opening, [*shown, how], up="../index.html")


def build_claims(found: Sequence[Judged], out: Path, rests_on: Sequence[Key] = ()) -> list[Path]:
    """Write ``index.html`` and ``README.md`` below ``out``; return what was written. ``rests_on``: its records."""
    return write_document(claims_page(found), out, out.parent, rests_on)


def measured_in_words(one: Judged) -> str:
    """The measured ratio with its interval, as text; a dash without one."""
    return "-" if one.chosen is None else ratio_in_words(one.chosen)


def ratio_in_words(one: Evidence) -> str:
    """A ratio with its interval."""
    return f"{plain(one.ratio.estimate, 3)} {interval(one.ratio.low, one.ratio.high)}".strip()


def _sentence(one: Judged) -> str:
    assert one.chosen is not None
    others = _others(one) if one.claim.every else ""
    return (
        f"{one.claim.statement} Measured: {_metric(one)} of {sides_in_words(one)}: {measured_in_words(one)} "
        f"({_where(one.chosen)}).{f' Of the others: {others}.' if others else ''}"
    )


def _metric(one: Judged) -> str:
    name = str(one.claim.metric)
    return name.replace("_", " ") if name in DERIVED else METRICS[name].label.lower()


def _section(name: str, found: Sequence[Judged]) -> Section:
    blocks: list[Block] = [_table(found)] if found else []
    return Section(name.capitalize(), blocks)


def _table(found: Sequence[Judged]) -> Table:
    columns = [
        Column("Claim", "source", "word"), Column("Published", kind="word"), Column("Ratio of", "metric", "word"),
        Column("Measured", "95 % interval"), Column("From", "suite, model, precision", "word"),
    ]  # fmt: skip
    return Table(columns, [_row(one) for one in found])


def _row(one: Judged) -> Row:
    claim, chosen = one.claim, one.chosen
    source = f"{claim.source}{'' if claim.verified else ' (not verified)'}"
    counter = f"; otherwise: {', '.join(claim.counter)}" if claim.counter else ""
    scale = f"; {one.at_scale.in_words()}" if one.at_scale is not None else ""
    first = Value(f"{claim.id}: {claim.statement}", f"{source}{counter}{scale}", kind="word")
    published = Value(claim.published or "-", _bound(one), kind="word")
    if chosen is None:
        return Row([first, published, Value(one.judgement.why, kind="reason", span=3)])
    others = _others(one)
    said = (_where(chosen), one.judgement.why, f"others: {others}" if others else "")
    return Row([
        first, published, Value(sides_in_words(one), _metric(one), kind="word"),
        Value(plain(chosen.ratio.estimate, 3), interval(chosen.ratio.low, chosen.ratio.high)),
        Value(f"{chosen.suite}: {chosen.basis}", "; ".join(filter(None, said)), kind="word", target=_rows_of(chosen)),
    ])  # fmt: skip


def _rows_of(one: Evidence) -> str:
    """Where the rows of a ratio are shown: the suite's page, its table filtered to their model and precision."""
    words = one.model if " over " in one.precision else f"{one.model} {one.precision}"  # of two precisions: both
    return f"../{quote(one.suite, '')}/index.html#explore?{urlencode({'filter': words})}"


def sides_in_words(one: Judged) -> str:
    """The two methods whose ratio it is, as the claim writes them."""
    assert one.chosen is not None
    return _side_in_words(one, one.chosen.side)


def _side_in_words(one: Judged, side: int) -> str:
    of, over = one.claim.sides[side]
    return f"{of.method} over {over.method if isinstance(over, Side) else plain(over)}"


def _bound(one: Judged) -> str:
    return ", ".join(f"{kind.replace('_', ' ')} {plain(value)}" for kind, value in one.claim.bounds.items())


def _where(one: Evidence) -> str:
    size = f" of {pretty(one.parameters, '1', 3)} parameters" if one.parameters else ""
    return f"{one.model}{size}, {one.precision}, {one.hardware}"


def _others(one: Judged) -> str:
    """What else was measured: of a claim about several methods each of them, else how many ratios say what."""
    if one.claim.every:
        return "; ".join(
            f"{_side_in_words(one, found.side)} {ratio_in_words(found)} {judgement.verdict}"
            for found, judgement in one.sides if found is not one.chosen
        )  # fmt: skip
    counts = Counter(judgement.verdict for _, judgement in one.others)
    return ", ".join(f"{number} {name}" for name, number in counts.items())
