"""What there is about each technique in claims and records: the lower half of its page.

Numbers are those of the suites' reports, by the same summary, with the same intervals; nothing is computed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness import catalogue
from harness.analyse.claimed import Judged
from harness.analyse.summary import Line, baseline_of
from harness.claims import Claim
from harness.contract import Modifier
from harness.errors import MethodError
from harness.metrics import metric as declared
from harness.plan.expression import Call, Stage, parse
from harness.report.alike import MEMORY
from harness.report.claims import measured_in_words, ratio_in_words
from harness.report.content import Content, one_line
from harness.report.numbers import interval, pretty
from harness.report.optimisations import partner, without_modifiers
from harness.report.outcomes import Key, Outcome
from harness.report.results import GENERATION, inference_memory, task_metrics

MOST_SCORES = 3
SIZE = "checkpoint_bytes"
DIVERGENCE = "kl_divergence"
# Units that the number or the metric's label says already.
SAID_OTHERWISE = frozenset({"1", "B", "s", "share", "bit/byte", "token", "token/s", "byte"})


@dataclass(frozen=True)
class Said:
    """A claim about the technique, as its page shows it; ``of_claim`` is the verdict of the claim as a whole."""

    id: str
    statement: str
    source: str
    published: str
    measured: str
    verdict: str
    of_claim: str
    why: str


@dataclass(frozen=True)
class Number:
    """One number of a method, and the same of what stands beside it; empty where there is none."""

    name: str
    value: str
    interval: str
    other: str = ""
    other_interval: str = ""


@dataclass(frozen=True)
class Result:
    """What one suite measured of the technique: one method of it, and how many more its report has."""

    suite: str
    where: str
    method: str
    beside: str
    numbers: tuple[Number, ...]
    others: int


@dataclass(frozen=True)
class Found:
    """What there is about one technique: claims with verdicts, results by suite."""

    claims: tuple[Said, ...] = ()
    results: tuple[Result, ...] = ()


def found_of(names: Iterable[str], claims: Sequence[Judged], suites: Iterable[Content]) -> dict[str, Found]:
    """What ``claims`` say and ``suites`` measured of each technique; the suites are gone through once."""
    wanted = {name: _named_precision(name) for name in names}
    results: dict[str, list[Result]] = {name: [] for name in wanted}
    for content in suites:
        for name, precision in wanted.items():
            result = _result(content, name, precision)
            results[name] += [] if result is None else [result]
    said = {name: tuple(_said(one, name) for one in claims if name in _about(one.claim)) for name in wanted}
    return {name: Found(said[name], tuple(results[name])) for name in wanted}


def _named_precision(name: str) -> str | None:
    """The precision that a modifier is another name of: no method says so, its cells are at that precision."""
    kind = catalogue.adapter_class(name)
    adapter = kind(kind.Params())
    return adapter.precision if isinstance(adapter, Modifier) else None


def _about(claim: Claim) -> set[str]:
    """The technique that a claim names, and those of the last stages of its ratios' first sides."""
    return {claim.technique, *(name for side in range(len(claim.sides)) for name in _of_side(claim, side))}


def _of_side(claim: Claim, side: int) -> list[str]:
    return _last_names(claim.sides[side][0].method)[-1:]


def _last_names(method: str) -> list[str]:
    """The technique of a method's last stage and its modifiers."""
    last = _parsed(method)[-1:]
    return [call.name for stage in last for call in (stage.call, *stage.modifiers)]


def _calls(method: str) -> list[Call]:
    return [call for stage in _parsed(method) for call in (stage.call, *stage.modifiers)]


def _parsed(method: str) -> tuple[Stage, ...]:
    """The stages of a method; none where it is no expression, as what somebody wrote into a record may be."""
    try:
        return parse(method).stages
    except MethodError:
        return ()


def _said(one: Judged, name: str) -> Said:
    """The claim as it stands for a technique: one about several has each technique's own ratio and its verdict."""
    claim, measured, judgement = one.claim, measured_in_words(one), one.judgement
    own = [pair for pair in one.sides if name in _of_side(claim, pair[0].side)]
    if claim.every and own and not any(found is one.chosen for found, _ in own):
        measured, judgement = ratio_in_words(own[0][0]), own[0][1]
    source = claim.source if claim.verified else f"{claim.source} (not verified)"
    return Said(
        claim.id, claim.statement, source, claim.published, measured, judgement.verdict,
        one.judgement.verdict, judgement.why,
    )  # fmt: skip


def _result(content: Content, name: str, precision: str | None) -> Result | None:
    """The plainest method of a suite that ends with the technique, the first of several precisions or settings."""
    found = [
        (which, outcome) for which in content.sets for outcome in content.groups(which)
        if outcome.status == "done" and _uses(content, outcome, name, precision)
    ]  # fmt: skip
    if not found:
        return None
    which, outcome = min(found, key=lambda pair: _roundabout(str(pair[1].key[0])))
    beside = _beside(content, outcome, precision)
    return Result(
        suite=str(content.plan.get("suite")), where=one_line(which), method=_shown(outcome.key),
        beside="" if beside is None else _shown(beside),
        numbers=tuple(_numbers(content, which, outcome.key, beside)), others=len(found) - 1,
    )  # fmt: skip


def _uses(content: Content, outcome: Outcome, name: str, precision: str | None) -> bool:
    if precision is None:
        return name in _last_names(str(outcome.key[0]))
    trained = outcome.key[3] == precision and bool(content.last_training(outcome.key))
    return trained and partner(outcome, content.groups(content.set_of(outcome.key))) is not None


def _roundabout(method: str) -> tuple[int, int]:
    """How far a method is from the technique alone: its stages and modifiers, then the parameters that are given."""
    calls = _calls(method)
    return (len(calls), sum(len(call.params) for call in calls))


def _shown(key: Key) -> str:
    return f"{key[0]} at {key[3]}" if key[3] else str(key[0])


def _beside(content: Content, outcome: Outcome, precision: str | None) -> Key | None:
    """What a method stands beside: the same training without modifiers, else the suite's baseline; None for itself."""
    which = content.set_of(outcome.key)
    here = content.groups(which)
    if precision is not None or without_modifiers(str(outcome.key[0])) != str(outcome.key[0]):
        plain = partner(outcome, here)
        if plain is not None:
            return plain.key
    same: list[Line] = [{"method": one.key[0], "precision": one.key[3], "key": one.key} for one in here]
    found = baseline_of(same, outcome.key[3], content.baseline)
    return None if found is None or found["key"] == outcome.key else tuple(found["key"])


def _numbers(content: Content, which: Key, key: Key, beside: Key | None) -> Iterable[Number]:
    """Scores of tasks, then what using it and making it takes."""
    scored = [pair for pair in task_metrics(content, which) if content.score(key, *pair) is not None]
    compressed = not content.trained(key)
    apart = [(task, DIVERGENCE) for task in content.tasks_with(DIVERGENCE)[:1] if compressed]
    for task, metric in [*apart, *scored[:MOST_SCORES]]:
        yield from _number(content, key, beside, metric, task)
    yield from _of_lines(
        SIZE, "", content.made(key, SIZE), None if beside is None else content.made(beside, SIZE),
    )  # fmt: skip
    used = inference_memory(content, key)
    if used is not None and used[0] in content.tasks_with(GENERATION):
        yield from _number(content, key, beside, used[1], used[0])
    lines, others = content.last_training(key), {} if beside is None else content.last_training(beside)
    for metric in ("step_seconds", next((name for name in MEMORY if name in lines), MEMORY[-1])):
        yield from _of_lines(metric, "training", lines.get(metric), others.get(metric))


def _number(content: Content, key: Key, beside: Key | None, metric: str, task: str) -> Iterable[Number]:
    other = None if beside is None else content.score(beside, task, metric)
    return _of_lines(metric, task, content.score(key, task, metric), other)


def _of_lines(metric: str, of: str, line: Line | None, other: Line | None) -> Iterable[Number]:
    if line is None:
        return
    told = declared(metric)
    name = ", ".join(filter(None, (told.label, "" if told.unit in SAID_OTHERWISE else told.unit, of)))
    second = ("", "") if other is None else _value(other)
    yield Number(name, *_value(line), *second)


def _value(line: Line) -> tuple[str, str]:
    # The size of a file has no spread that says anything.
    ends = "" if line["metric"] == SIZE else interval(line["low"], line["high"], line["unit"])
    return pretty(line["value"], line["unit"]), ends
