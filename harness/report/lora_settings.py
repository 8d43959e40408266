"""LoRA over its own settings: rank, alpha and targets, and whether a small rank is enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.analyse.statistics import Interval, mean_interval
from harness.analyse.summary import Line, compare
from harness.catalogue import adapter_class
from harness.contract import defaults
from harness.errors import MethodError
from harness.plan.expression import parse, value_text
from harness.report.cells import metric_value
from harness.report.content import Content
from harness.report.document import Bullets, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import interval, plain, pretty, signed
from harness.report.outcomes import Key, Outcome
from harness.report.results import set_title

QUALITY = "bits_per_byte"
SIZES = ("trainable_share", "further_task_bytes")
ASKED = (8, 16)
EXPLANATION = (
    "Each setting at the learning rate that its own trials chose. Differences are from the largest rank at alpha = 2r "
    "and the default targets: once paired over the test items with the seeds averaged, which says how sure the test "
    "set is, and once paired over the seeds (Student's t), which says how sure training is. The answer is the latter's."
)


@dataclass(frozen=True)
class Setting:
    """One LoRA among the outcomes."""

    outcome: Outcome
    rank: int
    alpha: float
    targets: str
    plain: bool


def lora_settings(content: Content) -> Section | None:
    """The section, or None where fewer than three ranks of one model were trained and measured."""
    found = _measured(content)
    return None if found is None else _section(content, *found)


def lora_in_words(content: Content) -> list[str]:
    """Whether ranks 8 and 16 are enough, for the opening of the report."""
    found = _measured(content)
    return [] if found is None else _answers(content, *found[1:])


def _measured(content: Content) -> tuple[Key, list[Setting], str] | None:
    """Model, settings and task of the first set that has three ranks."""
    for which in content.sets:
        found = [setting for outcome in content.groups(which) if (setting := _setting(content, outcome)) is not None]
        for task in content.tasks_with(QUALITY):
            scored = [one for one in found if content.score(one.outcome.key, task, QUALITY) is not None]
            if len({one.rank for one in scored if one.plain}) >= 3:
                return which, scored, task
    return None


def _setting(content: Content, outcome: Outcome) -> Setting | None:
    try:
        method = parse(str(outcome.key[0]))
    except MethodError:
        return None
    call = method.stages[-1].call
    if len(method.stages) > 1 or call.name != "lora" or method.stages[-1].modifiers:
        return None
    usual = defaults(adapter_class("lora").Params)
    params: dict[str, Any] = usual | dict(call.params)
    alpha = 2 * params["rank"] if params["alpha"] is None else params["alpha"]
    named = {"alpha", "target_modules", "rank_stabilized", "dora", "dropout"}
    plain_one = all(params[name] == usual[name] for name in named & params.keys())
    targets = str(params["target_modules"] or "query and value")
    return Setting(outcome, int(params["rank"]), float(alpha), targets, plain_one)


def _section(content: Content, which: Key, found: list[Setting], task: str) -> Section:
    largest = _largest(found)
    chosen = {
        tuple(trial[name] for name in ("method", "model", "precision")): trial["value"]
        for trial in content.plan.get("trials") or []
        if trial["chosen"]
    }
    columns = [
        Column("Rank", "", "method"), Column("Alpha"), Column("Targets", "", "method"),
        Column("Trainable", "share of parameters"), Column("A further task", "bytes"),
        Column("Learning rate", "chosen"), Column("Bits per byte", task),
        Column(f"Difference to rank {largest.rank}", "over items"),
        Column(f"Difference to rank {largest.rank}", "over seeds"),
    ]  # fmt: skip
    rows = []
    for one in found:
        line, lines = _line(content, one, task), content.last_training(one.outcome.key)
        rate = chosen.get((one.outcome.key[0], one.outcome.key[1], one.outcome.key[3]))
        rows.append(Row([
            Value(str(one.rank), kind="method"), Value(plain(one.alpha)), Value(one.targets, kind="method"),
            *(Value(metric_value(lines.get(name), digits=3).text) for name in SIZES),
            Value("-" if rate is None else value_text(rate)), metric_value(line),
            *_differences(content, one, largest, task),
        ], "baseline" if one is largest else ""))  # fmt: skip
    table = Table(columns, rows, set_title(which))
    return Section("LoRA's settings", [Paragraph(EXPLANATION, "note"), Bullets(_answers(content, found, task)), table])


def _largest(found: list[Setting]) -> Setting:
    return max((one for one in found if one.plain), key=lambda one: one.rank)


def _answers(content: Content, found: list[Setting], task: str) -> list[str]:
    largest = _largest(found)
    asked = [one for one in found if one.plain and one.rank in ASKED and one is not largest]
    return [_answer(content, one, largest, task) for one in asked]


def _line(content: Content, one: Setting, task: str) -> Line:
    line = content.score(one.outcome.key, task, QUALITY)
    assert line is not None
    return line


def _differences(content: Content, one: Setting, largest: Setting, task: str) -> list[Value]:
    if one is largest:
        return [Value(), Value()]
    found, _ = compare(_line(content, one, task), _line(content, largest, task), content.scores)
    both = (found, _over_seeds(content, one, largest, task))
    return [Value() if one is None else Value(signed(one.estimate), interval(one.low, one.high)) for one in both]


def _over_seeds(content: Content, one: Setting, largest: Setting, task: str) -> Interval | None:
    """Mean difference of the trainings of one seed each; None where they share no seed."""
    mine, other = (content.by_seed(QUALITY, _line(content, which, task)["steps"]) for which in (one, largest))
    return mean_interval([mine[seed] - other[seed] for seed in mine if seed in other])


def _answer(content: Content, one: Setting, largest: Setting, task: str) -> str:
    found = _over_seeds(content, one, largest, task)
    said = f"Rank {one.rank} against rank {largest.rank}"
    if found is None or found.low is None or found.high is None:
        return f"{said}: too few seeds to tell."
    base = _line(content, largest, task)["value"]
    verdict = "not told apart from no difference"
    if not found.contains(0.0):
        verdict = "worse" if found.low > 0 else "better"
    return (
        f"{said}: {signed(found.estimate)} {interval(found.low, found.high)} bits per byte over {found.n} seeds, "
        f"{verdict}; at the upper end a loss of {pretty(max(0.0, found.high / base), 'share', 2)}."
    )
