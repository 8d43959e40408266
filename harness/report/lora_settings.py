"""LoRA over its own settings: rank, alpha and targets, and whether a small rank is enough."""

from __future__ import annotations

from collections.abc import Iterable
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
FULL = "full_finetune"
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


def enough_in_words(content: Content) -> list[str]:
    """Yes or no to whether a small rank is enough, and what changes more than the rank does."""
    found = _measured(content)
    if found is None:
        return []
    _, settings, task = found
    return [*_verdict(content, settings, task), *_beside_rank(content, settings, task)]


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
    said = [*_verdict(content, found, task), *_beside_rank(content, found, task), *_answers(content, found, task)]
    return Section("LoRA's settings", [Paragraph(EXPLANATION, "note"), Bullets(said), table])


def _verdict(content: Content, found: list[Setting], task: str) -> list[str]:
    """Whether the ranks that are asked for are enough: not worse than the largest, as far as the seeds tell."""
    largest = _largest(found)
    against = {one.rank: _over_seeds(content, one, largest, task) for one in _asked(found)}
    told = {rank: interval for rank, interval in against.items() if interval is not None and interval.low is not None}
    if not told or len(told) < len(against):
        return [f"Whether rank {_either(against)} is enough cannot be told: too few seeds."] if against else []
    lost = [rank for rank, interval in told.items() if interval.low is not None and interval.low > 0]
    kept = [rank for rank in told if rank not in lost]
    if not lost:
        told_by = f"as far as {min(interval.n for interval in told.values())} seeds tell"
        return [f"Yes, rank {_either(kept)} is enough here: not worse than rank {largest.rank} {told_by}."]
    if not kept:
        return [f"No, rank {_either(lost)} is not enough here: worse than rank {largest.rank}."]
    return [f"Rank {_either(kept)} is enough here, rank {_either(lost)} is not: worse than rank {largest.rank}."]


def _either(ranks: Iterable[int]) -> str:
    return " or ".join(map(str, ranks))


def _beside_rank(content: Content, found: list[Setting], task: str) -> list[str]:
    """Other targets at one rank against all ranks on the usual ones, where they are told apart."""
    ranks = [one for one in found if one.plain]
    values = {one.rank: _line(content, one, task)["value"] for one in ranks}
    best, span = min(ranks, key=lambda one: values[one.rank]), max(values.values()) - min(values.values())
    said = []
    for one in found:
        same = next((other for other in ranks if other.rank == one.rank and other.alpha == one.alpha), None)
        change = _over_seeds(content, one, same, task) if same and one.targets != same.targets else None
        if same is None or change is None or change.contains(0.0) is not False:
            continue
        beyond = _over_seeds(content, one, best, task)
        sure = beyond is not None and beyond.contains(0.0) is False
        wider = "more" if abs(change.estimate) > span else "no more"
        said.append(
            f"Targets {one.targets} instead of {same.targets} at rank {one.rank}: {_change(change)}, {wider} than the "
            f"{plain(span, 3)} between the best and the worst of ranks {min(values)} to {max(values)}; from rank "
            f"{best.rank}, the best of them, it is {'' if sure else 'not '}told apart."
        )
    return [*said, *_full(content, _largest(found), task)]


def _full(content: Content, largest: Setting, task: str) -> list[str]:
    """Full fine-tuning against the largest rank, where it was trained as well."""
    key = (FULL, *largest.outcome.key[1:])
    line = content.score(key, task, QUALITY)
    found = None if line is None else _seed_by_seed(content, line, _line(content, largest, task))
    if found is None or found.low is None:
        return []
    verdict = "not told apart" if found.contains(0.0) else "worse" if found.estimate > 0 else "better"
    return [f"Full fine-tuning against rank {largest.rank}: {_change(found)}, {verdict}."]


def _change(found: Interval) -> str:
    """A difference with the ends of its interval so that zero is on the right side of them."""
    return f"{signed(found.estimate)} [{signed(found.low)}, {signed(found.high)}] bits per byte over {found.n} seeds"


def _largest(found: list[Setting]) -> Setting:
    return max((one for one in found if one.plain), key=lambda one: one.rank)


def _answers(content: Content, found: list[Setting], task: str) -> list[str]:
    largest = _largest(found)
    return [_answer(content, one, largest, task) for one in _asked(found)]


def _asked(found: list[Setting]) -> list[Setting]:
    return [one for one in found if one.plain and one.rank in ASKED and one is not _largest(found)]


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
    return _seed_by_seed(content, _line(content, one, task), _line(content, largest, task))


def _seed_by_seed(content: Content, one: Line, largest: Line) -> Interval | None:
    mine, other = (content.by_seed(QUALITY, line["steps"]) for line in (one, largest))
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
