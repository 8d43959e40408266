"""How time and memory of training grow with a size: with the sequence length by kernel, with depth by modifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy
import pandas

from harness.analyse.scaling import MOST, Fit, begins_to_pay, power_law
from harness.analyse.statistics import Interval
from harness.analyse.summary import LENGTH
from harness.errors import MethodError
from harness.plan.expression import Method, Stage, parse
from harness.report.alike import (
    NOISE_IN_BRACKETS,
    memory_interval,
    memory_ratio,
    pairs,
    time_interval,
    time_ratio,
    training_memory,
)
from harness.report.content import Content
from harness.report.document import Block, Bullets, Column, Paragraph, Row, Section, Table, Value
from harness.report.figures import growth as picture
from harness.report.numbers import plain, pretty
from harness.report.optimisations import without_modifiers
from harness.report.outcomes import Key, Outcome

ATTENTION = "flash_attention"
Measure = Callable[[Content, Key], float]
FEWEST = 4
EXPLANATION = (
    "Seconds are the median optimiser step, memory the peak above what the process began with. "
    f"{NOISE_IN_BRACKETS} A series is called faster from where on every larger size is told apart, and one that takes "
    "less memory from where on it does so in every seed. The exponent p is that of the least-squares fit a + b size^p "
    "with a, b >= 0 and relative errors: 1 is linear, 2 quadratic. Below it stand the exponents that the sizes do not "
    "rule out (F test at 95 %; 0 and 3 are the ends of what was looked at and bound nothing), which is wide for "
    "four or five sizes, and the root mean square of the errors. It describes these sizes and promises nothing "
    "beyond them. Where the memory of the tensors alone was measured at every size (`training_memory`), memory is "
    "fitted to that: a peak holds what the heap keeps. On a GPU the peak is that of the device's memory."
)


@dataclass
class Grown:
    """Trainings that differ in one size, by series; the first series is what the others are compared with."""

    title: str
    size: str
    series: dict[str, dict[int, Outcome]] = field(default_factory=dict)

    @property
    def sizes(self) -> list[int]:
        """Every size that any series has, ascending."""
        return sorted({size for found in self.series.values() for size in found})


def growth(content: Content) -> Section | None:
    """The section, or None where nothing was trained at four sizes or more."""
    found = _grown(content)
    if not found:
        return None
    blocks: list[Block] = [Paragraph(EXPLANATION, "note")]
    for number, grown in enumerate(found, start=1):
        blocks += [Bullets(_findings(content, grown)), _table(content, grown), _fits(content, grown)]
        blocks.append(picture(_points(content, grown), number, grown.title, grown.size))
    return Section("Growth", blocks)


def growth_in_words(content: Content) -> list[str]:
    """How each series grows and from which size on it beats the first one, for the opening of the report."""
    return [f"{grown.title}: {said}" for grown in _grown(content) for said in _findings(content, grown)]


def _growing(content: Content, grown: Grown) -> list[str]:
    """The exponents of every series and whether they are told from 1, a sentence for time and one for memory.

    None of four sizes: a fit of three numbers leaves nothing to tell its error by.
    """
    said: list[str] = []
    if len(grown.sizes) <= FEWEST:
        return said
    for what, measure in (("time of a step", _step), _memory_fitted(content, grown)):
        fits = [(name, _fit(content, line, measure)) for name, line in grown.series.items()]
        told = [f"{name} {_in_words(fit)}" for name, fit in fits]
        if any(fit is not None for _, fit in fits):
            said.append(f"growth of the {what} with {grown.size}, exponent (its range): {'; '.join(told)}.")
    return said


def _in_words(fit: Fit | None) -> str:
    if fit is None:
        return "follows no power"
    return f"{plain(fit.exponent, 3)} ({_range(fit)}), {fit.against_linear()}"


def _range(fit: Fit) -> str:
    return f"{plain(fit.low, 3)} to {plain(fit.high, 3)}{' or more' if fit.high >= MOST else ''}"


def _grown(content: Content) -> list[Grown]:
    return [*_by_length(content), *_by_depth(content)]


def _by_length(content: Content) -> list[Grown]:
    """Sequence lengths by kernel of attention, the rest of the method being the same."""
    found: dict[tuple[str, ...], Grown] = {}
    for outcome, stage in _trained(content):
        kernels = [dict(call.params).get("kernel", "flash") for call in stage.modifiers if call.name == ATTENTION]
        setup = content.observed(content.steps_of(outcome.key), "setup") or {}
        if not kernels or "sequence_length" not in setup:
            continue
        key = (_without_length(str(outcome.key[0])), *map(str, outcome.key[1:]))
        grown = found.setdefault(key, Grown(f"attention, {stage.call.name} on {outcome.key[1]}", "sequence length"))
        grown.series.setdefault(str(kernels[0]), {})[int(setup["sequence_length"])] = outcome
    return _long_enough(found.values())


def _without_length(method: str) -> str:
    """The chain without what a series of lengths varies: the length itself and the kernel."""
    *before, last = parse(method).without((LENGTH,)).stages
    modifiers = tuple(call for call in last.modifiers if call.name != ATTENTION)
    return str(Method((*before, replace(last, modifiers=modifiers))))


def _by_depth(content: Content) -> list[Grown]:
    """Numbers of layers by modifier, over models that differ in depth."""
    found: dict[tuple[str, ...], Grown] = {}
    for outcome, stage in _trained(content):
        model = content.observed(content.steps_of(outcome.key), "model") or {}
        if not model.get("layers"):
            continue
        plain_method = without_modifiers(str(outcome.key[0]))
        key = (plain_method, *(str(part) for part in outcome.key[2:]))
        grown = found.setdefault(key, Grown(f"depth, {plain_method}, {outcome.key[3]}", "layers"))
        name = " + ".join(map(str, stage.modifiers)) or "plain"
        grown.series.setdefault(name, {})[int(model["layers"])] = outcome
    return _long_enough(found.values())


def _trained(content: Content) -> Iterable[tuple[Outcome, Stage]]:
    for outcome in content.outcomes:
        if content.steps_of(outcome.key):
            try:
                yield outcome, parse(str(outcome.key[0])).stages[-1]
            except MethodError:
                continue


def _long_enough(found: Iterable[Grown]) -> list[Grown]:
    kept = []
    for grown in found:
        series = {name: line for name, line in grown.series.items() if len(line) >= FEWEST}
        if series:
            kept.append(replace(grown, series=series))
    return kept


def _findings(content: Content, grown: Grown) -> list[str]:
    (reference, base), *others = grown.series.items()
    said = _growing(content, grown)
    for name, line in others:
        shared = [size for size in line if size in base]
        times, peaks = (
            {size: one for size in shared if (one := of(content, line[size].key, base[size].key))}
            for of in (time_interval, memory_interval)
        )
        time = _pays(times, grown, "a step is faster", "a step is slower", "a step is not clearly faster")
        memory = _pays(peaks, grown, "it takes less memory", "it takes more memory", "it takes no less memory")
        said.append(f"{name} against {reference}: {time}; {memory}{_seeds(content, line, base)}.")
    return said


def _seeds(content: Content, line: dict[int, Outcome], base: dict[int, Outcome]) -> str:
    """How many trainings stand behind a finding, where it is no more than two."""
    counts = {len(pairs(content, one.key, base[size].key)) for size, one in line.items() if size in base}
    if min(counts) == 1 and len(counts) > 1:
        return " (in every seed; one training alone at some sizes)"
    return {1: " (one training of each)", 2: " (in both seeds)"}.get(min(counts), "")


def _pays(ratios: dict[int, Interval], grown: Grown, less: str, more: str, unsure: str) -> str:
    """From where on it is less; where it is not at the largest size, whether it is more there or not told."""
    size = begins_to_pay({float(size): found for size, found in ratios.items()})
    if size is not None:
        return f"{less} from {plain(size)} {_unit(grown)} on"
    last = ratios[max(ratios)].low if ratios else None
    said = more if last and last > 1 else unsure
    return f"{said} at {plain(grown.sizes[-1])} {_unit(grown)}, the most that was tried"


def _unit(grown: Grown) -> str:
    return "layers" if grown.size == "layers" else "tokens"


def _table(content: Content, grown: Grown) -> Table:
    (_, base), *others = grown.series.items()
    columns = [Column(grown.size.capitalize(), "", "method")]
    for name in grown.series:
        columns += [Column(name, "optimiser step"), Column(name, "peak memory")]
    for name, _ in others:
        columns += [Column(f"{name}, ratio", "optimiser step"), Column(f"{name}, ratio", "peak memory")]
    rows = []
    for size in grown.sizes:
        values = [Value(plain(size), kind="method")]
        for line in grown.series.values():
            values += [_seconds(content, line.get(size)), _memory(content, line.get(size))]
        for _, line in others:
            both = size in line and size in base
            keys = (line[size].key, base[size].key) if both else ()
            values += [time_ratio(content, *keys), memory_ratio(content, *keys)] if both else [Value(), Value()]
        rows.append(Row(values))
    return Table(columns, rows, grown.title)


def _fits(content: Content, grown: Grown) -> Table:
    what, memory = _memory_fitted(content, grown)
    columns = [
        Column("Series", "", "method"), Column("Exponent", "optimiser step"), Column("Exponent", what),
        Column(what.capitalize(), f"per {_unit(grown)[:-1]}, straight line"),
    ]  # fmt: skip
    rows = []
    for name, line in grown.series.items():
        sizes = sorted(line)
        slope = float(numpy.polyfit(sizes, [memory(content, line[size].key) for size in sizes], 1)[0])
        fits = [_exponent(_fit(content, line, measure)) for measure in (_step, memory)]
        rows.append(Row([Value(name, kind="method"), *fits, Value(pretty(slope, "B", 3))]))
    return Table(columns, rows, f"Fits over {grown.size}")


def _fit(content: Content, line: dict[int, Outcome], measure: Measure) -> Fit | None:
    sizes = sorted(line)
    return power_law(sizes, [measure(content, line[size].key) for size in sizes])


def _exponent(found: Fit | None) -> Value:
    if found is None:
        return Value("-", "no power of the size")
    return Value(plain(found.exponent, 3), f"{_range(found)}; off by {pretty(found.error, 'share', 2)}")


def _points(content: Content, grown: Grown) -> pandas.DataFrame:
    return pandas.DataFrame(
        [
            (name, size, _step(content, outcome.key), _peak(content, outcome.key) / 2**20)
            for name, line in grown.series.items()
            for size, outcome in sorted(line.items())
        ],
        columns=["series", "size", "seconds", "mebibytes"],
    )


def _step(content: Content, key: Key) -> float:
    return float(content.last_training(key)["step_seconds"]["value"])


def _peak(content: Content, key: Key) -> float:
    return training_memory(content, key) or 0.0


def _tensors(content: Content, key: Key) -> float:
    """Peak bytes of the tensors of a training, from a process whose heap keeps nothing; 0 where it was not measured."""
    lines = (content.score(key, task, "tensor_memory_bytes") for task in content.tasks_named("training_memory"))
    return next((float(line["value"]) for line in lines if line is not None), 0.0)


def _memory_fitted(content: Content, grown: Grown) -> tuple[str, Measure]:
    """What the growth of memory is fitted to: tensors where they were measured at every size, else the peak."""
    every = [outcome.key for line in grown.series.values() for outcome in line.values()]
    measured = all(_tensors(content, key) for key in every)
    return ("memory of tensors", _tensors) if measured else ("peak of memory", _peak)


def _seconds(content: Content, outcome: Outcome | None) -> Value:
    return Value() if outcome is None else Value(pretty(_step(content, outcome.key), "s", 3))


def _memory(content: Content, outcome: Outcome | None) -> Value:
    return Value() if outcome is None else Value(pretty(_peak(content, outcome.key), "B", 3))


