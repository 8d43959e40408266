"""The noise of this machine: what the last self-test says of every number that was measured on it."""

from __future__ import annotations

from harness.analyse.noise import GATE_PAIRS, Noise
from harness.analyse.selftest import GOAL, SelfTest
from harness.metrics import METRICS
from harness.report.case_words import DETECTABLE
from harness.report.content import Content
from harness.report.document import MISSING, Bullets, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import interval, plain, pretty, signed

TITLE = "Noise of this machine"
EXPLANATION = (
    "One small suite measured again and again with nothing changed (`harness selftest`), on the hard facts of this "
    "report. Noise is the standard deviation between repeats; 'against itself' is every second repeat over the one "
    f"before it, which should be 1; the last column is the {DETECTABLE} of {GATE_PAIRS} interleaved pairs (one-sided "
    "5 %, power 80 %): a gate asks for more than twice that before it raises an alarm. Two single runs must differ by "
    "three times the noise to be told apart."
)
NONE = (
    "No self-test was measured on this machine. `harness selftest` measures one small suite again and again; after it "
    "stands here how far two runs of the same thing lie apart, and how small a change a gate could find."
)
CELLS = (
    "Step", "Number", "Repeats", "Level", "Noise", "Against itself", f"{DETECTABLE.capitalize()}, {GATE_PAIRS} pairs"
)  # fmt: skip


def noise(content: Content) -> Section:
    """The section; where no self-test was measured on this machine it says how to measure one."""
    found = content.self_test
    shown = [one for one in found.noise if one.random and one.deviation is not None] if found else []
    if found is None or not shown:
        return Section(TITLE, [Paragraph(NONE, "note")])
    rows = [Row([Value(text, kind="text" if place < 2 else "number") for place, text in enumerate(in_cells(one))])
            for one in shown]  # fmt: skip
    columns = [Column(title, kind="text" if place < 2 else "number") for place, title in enumerate(CELLS)]
    table = Table(columns, rows, f"{found.repeats} repeats")
    said = Bullets([measured_in_words(found), *in_words(found)])
    return Section(TITLE, [Paragraph(EXPLANATION, "note"), table, said])


def in_cells(one: Noise) -> tuple[str, ...]:
    """A line of the table, under the heads of ``CELLS``."""
    metric = METRICS[one.metric]
    unit = metric.unit if one.watched.absolute else "share"
    return (
        one.place.in_words(), metric.label, str(one.n), pretty(one.level, metric.unit, 3),
        pretty(one.deviation, unit, 2), _against_itself(one, unit), pretty(one.smallest, unit, 2),
    )  # fmt: skip


def measured_in_words(found: SelfTest) -> str:
    """When the self-test was measured, how often, and by which commit."""
    state = " with uncommitted changes" if found.dirty else ""
    return (
        f"Self-test of {found.repeats} repeats from {found.began} to {found.ended}, commit {found.commit[:12]}{state}, "
        f"installation {found.installation}."
    )


def in_words(found: SelfTest) -> list[str]:
    """What the self-test says besides its table, a sentence each."""
    said = [_disturbed(found)]
    if found.compared:
        same = sum(bool(one.same) for one in found.compared)
        said.append(
            f"{same} of {len(found.compared)} numbers compared with themselves show no difference at 95 % confidence."
        )
    if found.exact:
        said.append(f"{len(found.exact)} numbers of quality and size repeated to the bit.")
    if found.unequal:
        names = "; ".join(f"{METRICS[one.metric].label} of {one.place.in_words()}" for one in found.unequal)
        said.append(f"Nothing random enters these numbers, and they did not repeat: {names}.")
    return [*said, *_overhead(found), *_supervised(found)]


def _disturbed(found: SelfTest) -> str:
    if not found.disturbed:
        return "No step was disturbed by other processes."
    return f"Other processes disturbed {found.disturbed} of {found.steps} steps: on a quiet machine the noise is less."


def _overhead(found: SelfTest) -> list[str]:
    if found.overhead is None:
        return []
    one = found.overhead
    bounds = interval(one.low, one.high, "share")
    share = f"{pretty(one.estimate, 'share', 2)} {bounds}".strip()
    return [f"Meter and training loop add {share} to a step of a plain PyTorch loop on a small model."]


def _supervised(found: SelfTest) -> list[str]:
    one = found.supervised
    if one is None:
        return []
    overall, median, highest = (pretty(value, "share", 2) for value in (one.overall, one.median, one.highest))
    goal = f"the goal of {pretty(GOAL, 'share')} is {'met' if one.overall <= GOAL else 'missed'}"
    return [
        f"While {one.steps} steps ran, the launcher and its server took {overall} of a core ({goal}): {median} in the "
        f"median step, at most {highest} ({one.where}). What it takes to start and to end a step is not in it."
    ]


def _against_itself(one: Noise, unit: str) -> str:
    """The ratio, or the difference of what is compared in its own unit."""
    if one.ratio is None:
        return MISSING
    found = one.ratio
    if one.watched.absolute:
        return f"{signed(found.estimate, unit, 2)} {interval(found.low, found.high, unit)}".strip()
    return f"{plain(found.estimate)} {interval(found.low, found.high)}".strip()
