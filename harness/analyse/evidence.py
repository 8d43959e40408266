"""Measured ratios for claims: which cells of which suites are the two sides, and the ratio with its interval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas

from harness.analyse.cells import deciding, installation_of, items_of_deciding, members
from harness.analyse.cost import making_cost
from harness.analyse.item_scores import ItemScores
from harness.analyse.paired import RECIPES, UNTRANSFORMED
from harness.analyse.patterns import matches, settings_of
from harness.analyse.statistics import Interval, mean_interval, paired_difference, ratio_of_means
from harness.analyse.summary import Line, as_lines, summarize
from harness.analyse.wins import scores_by_seed, wider, win_rate
from harness.claims import MAKING, WINS, Claim, Side
from harness.results.named import Key

TIMES = frozenset({
    "step_seconds", "tokens_per_second", "decode_tokens_per_second", "prefill_tokens_per_second", MAKING,
    "encode_megabytes_per_second", "decode_megabytes_per_second", "wall_seconds",
})  # fmt: skip
PEAKS = frozenset({"peak_memory_rise_bytes", "peak_memory_bytes"})
# What a claim without a task means of the training itself, and not of using what it made.
OF_TRAINING = PEAKS | {
    "step_seconds", "tokens_per_second", "trainable_share", "further_task_bytes", "train_loss_last",
    "rank_optimizer_bytes", "rank_parameter_bytes", "rank_gradient_bytes",
}  # fmt: skip
FEWEST_PAIRS = 3  # of peaks: Student's interval over two says nothing
# How far peaks of the same work were apart on this kind of machine, seed by seed.
NOISE_OF_PEAKS = 0.1
SAME = ("model", "data", "hardware")


@dataclass(frozen=True)
class Evidence:
    """One measured ratio. ``basis`` says over what its interval is; ``pairs`` counts interleaved pairs of runs, of
    times alone; ``side`` is the place of the two methods among the claim's.
    """

    suite: str
    of: str
    over: str
    model: str
    data: str
    hardware: str
    precision: str
    ratio: Interval
    basis: str
    pairs: int | None
    parameters: float | None
    steps: tuple[str, ...]
    side: int = 0


@dataclass
class Measured:
    """One suite's rows, items and plan, of the installation that measured last."""

    suite: str
    frame: pandas.DataFrame
    items: pandas.DataFrame
    plan: Mapping[str, Any]

    @cached_property
    def rows(self) -> pandas.DataFrame:
        """Rows of the records that decide."""
        return deciding(self.frame, installation_of(self.frame))

    @cached_property
    def member(self) -> pandas.DataFrame:
        """Which steps belong to which cell."""
        return members(self.rows, self.plan)

    @cached_property
    def lines(self) -> list[Line]:
        """The summary."""
        return as_lines(summarize(self.frame, self.items, self.plan, scores=self.scores))

    @cached_property
    def scores(self) -> ItemScores:
        """Per-item scores of the records that decide."""
        return ItemScores(items_of_deciding(self.items, self.rows))

    @cached_property
    def seeds(self) -> dict[str, Any]:
        """The seed of the cell that a step belongs to."""
        return dict(zip(self.member["step"], self.member["seed"], strict=True))

    @cached_property
    def started(self) -> dict[str, str]:
        """When the record of a step began."""
        told = self.rows.loc[self.rows["metric"] == "status", ["step", "started"]].astype(str)
        return dict(told.itertuples(index=False, name=None))

    @cached_property
    def values(self) -> dict[tuple[str, str], float]:
        """The value of a metric of a step."""
        rows = self.rows[self.rows["sample"].isna() & (self.rows["phase"] == "") & (self.rows["status"] == "done")]
        kept = rows[["step", "metric", "value"]].dropna().astype({"step": str, "metric": str})
        return {(step, metric): float(value) for step, metric, value in kept.itertuples(index=False, name=None)}


def measured(
    results: Path | str, suites: Sequence[str] | None = None, unreadable: list[str] | None = None
) -> Iterator[Measured]:
    """Every suite of a results folder that has rows; ``unreadable`` gets a line for each file that cannot be read."""
    from harness.results.items import items_of
    from harness.results.quarantine import Records
    from harness.results.reading import stream
    from harness.results.rows import load
    from harness.results.store import Store

    store = Store(results)
    for suite in store.suites():
        if suites is not None and suite not in suites:
            continue
        frame = load(results, suite)
        if unreadable is not None:
            unreadable += frame.attrs["unreadable"]
        if frame.empty:
            continue
        plans = store.plans(suite)
        plan = plans.get(str(installation_of(frame))) or next(iter(plans.values()), {})
        yield Measured(suite, frame, items_of(stream(store, suite, Records())), plan)


def judged_by(results: Path | str, suites: Sequence[str] | None = None) -> list[Key]:
    """The records that claims are judged by: those that decide the steps of every suite."""
    found: list[Key] = []
    for one in measured(results, suites):
        names = one.rows[["installation", "record"]].astype(str).drop_duplicates()
        found += [(one.suite, str(owner), str(name)) for owner, name in names.itertuples(index=False)]
    return found


def evidence(claim: Claim, suite: Measured) -> list[Evidence]:
    """Every ratio of a suite that tests a claim."""
    if claim.metric is None:
        return []
    if claim.suite is not None and claim.suite != suite.suite:
        return []
    return [
        replace(each, side=side)
        for side, (of, over) in enumerate(claim.sides) for each in _of_sides(claim, of, over, suite)
    ]  # fmt: skip


def _of_sides(claim: Claim, of: Side, over: Side | float, suite: Measured) -> Iterator[Evidence]:
    for one in _sides(claim, of, suite):
        if not isinstance(over, Side):
            yield _told(suite, one, None, over, *_of_constant(one, over))
            continue
        for other in _sides(claim, over, suite):
            differ = of.precision is not None or over.precision is not None
            if not _comparable(claim, one, other, differ):
                continue
            ratio = _ratio(claim, suite, one, other)
            if ratio is not None:
                yield _told(suite, one, other, 0.0, *ratio)


def _sides(claim: Claim, side: Side, suite: Measured) -> list[Line]:
    """Lines of the claim's metric whose method is the side's, one per cell group."""
    metric = {MAKING: "status", WINS: "judge_reward"}.get(str(claim.metric), claim.metric)
    lines = _making(suite) if claim.metric == MAKING else suite.lines
    found: dict[tuple[Any, ...], Line] = {}
    for line in lines:
        if claim.metric != MAKING and line["metric"] != metric:
            continue
        if not matches(side.method, str(line["method"])):
            continue
        if side.precision is not None and line["precision"] != side.precision:
            continue
        if claim.model is not None and line["model"] != claim.model:
            continue
        if claim.task is not None and line["task"] != claim.task:
            continue
        of_training = claim.metric in OF_TRAINING and claim.task is None
        if of_training != (line["operation"] == "train"):
            continue
        last = line["operation"] != "train" or str(line["method"]).endswith(str(line["stage"]))
        key = tuple(line[name] for name in ("method", "precision", *SAME))
        if last and key not in found:
            found[key] = line
    return list(found.values())


def _making(suite: Measured) -> list[Line]:
    """Lines of what it took to make each group of cells, with its value by seed."""
    cost = making_cost(suite.rows, suite.member)
    keys = ["method", "precision", *SAME]
    texts = cost.astype(dict.fromkeys(keys, object))
    lines = []
    for key, group in texts.groupby(keys, dropna=False, sort=True):
        by_seed = dict(zip(group["seed"].astype(object), group["seconds"].astype(float), strict=True))
        lines.append({
            **dict(zip(keys, key, strict=True)), "metric": MAKING, "task": None, "operation": "eval", "stage": None,
            "steps": (), "by_seed": {seed: value for seed, value in by_seed.items() if not math.isnan(value)},
            "value": float(group["seconds"].mean()), "seeds": len(by_seed),
        })  # fmt: skip
    return lines


def _comparable(claim: Claim, one: Line, other: Line, precisions_differ: bool) -> bool:
    """Whether two lines differ in nothing but what the claim is about."""
    if any(one[name] != other[name] for name in SAME) or one["task"] != other["task"]:
        return False
    if not precisions_differ and one["precision"] != other["precision"]:
        return False
    alike = settings_of(str(one["method"])) == settings_of(str(other["method"]))
    return alike or claim.metric in (MAKING, WINS)


def _of_constant(one: Line, over: float) -> tuple[Interval, str, int | None]:
    """The ratio of a line to a number; without an interval of its own it is exact."""
    low, high = (value if value is not None else one["value"] for value in (one["low"], one["high"]))
    return Interval(one["value"] / over, low / over, high / over, one["seeds"], "seeds"), "exact", None


def _ratio(claim: Claim, suite: Measured, one: Line, other: Line) -> tuple[Interval, str, int | None] | None:
    metric = str(claim.metric)
    if metric == WINS:
        return _wins(suite, one, other)
    if metric in TIMES:
        return _of_times(suite, metric, one, other)
    if metric in RECIPES:
        return _of_items(suite, metric, one, other)
    ratio = one["value"] / other["value"] if other["value"] else None
    if ratio is None:
        return None
    if metric in PEAKS:
        paired = _by_seed(suite, metric, one, other)
        if paired is not None and paired.low is not None and paired.n >= FEWEST_PAIRS:
            return paired, f"{paired.n} pairs of runs", None
        width = ratio * NOISE_OF_PEAKS
        return Interval(ratio, ratio - width, ratio + width, 1, "repeats"), "means of runs, +-10 %", None
    paired = _by_seed(suite, metric, one, other)
    if paired is not None and paired.low is not None and paired.low != paired.high:
        return paired, f"{paired.n} pairs of runs", None
    return Interval(ratio, ratio, ratio, one["seeds"], "seeds"), "exact", None


def _of_times(suite: Measured, metric: str, one: Line, other: Line) -> tuple[Interval, str, int | None] | None:
    paired = _by_seed(suite, metric, one, other)
    if paired is None:
        return None
    if paired.n > 1 and not _interleaved(suite, one, other):
        return paired, f"{paired.n} pairs of runs, not interleaved", 0
    return paired, f"{paired.n} pairs of runs", paired.n


def _interleaved(suite: Measured, one: Line, other: Line) -> bool:
    """Whether both runs of each seed began before those of the next, so that a machine that drifts did to both sides
    what it did to one. Seconds of whole chains have no steps of their own, and are not known to be.
    """
    began: dict[Any, list[str]] = {}
    for step in (*one["steps"], *other["steps"]):
        began.setdefault(suite.seeds.get(step), []).append(suite.started[str(step)])
    seeds = sorted(found for found in began.values() if len(found) == 2)
    return bool(seeds) and all(max(first) < min(second) for first, second in itertools.pairwise(seeds))


def _by_seed(suite: Measured, metric: str, one: Line, other: Line) -> Interval | None:
    """The ratio paired by seed: the mean of its logarithm with Student's interval."""
    logs = [math.log(ratio) for ratio in _ratios(suite, metric, one, other)]
    found = mean_interval(logs)
    if found is None:
        return None
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return Interval(math.exp(found.estimate), low, high, found.n, "seeds")


def _ratios(suite: Measured, metric: str, one: Line, other: Line) -> list[float]:
    """The ratio at each seed that both sides have; of a single run each, of these two; of quality that does not depend
    on a seed, beside every seed of the other side."""
    first, second = (_values(suite, metric, line) for line in (one, other))
    if len(first) == 1 and (len(second) == 1 or metric not in TIMES):
        pairs = [(next(iter(first.values())), value) for value in second.values()]
    elif len(second) == 1 and metric not in TIMES:
        pairs = [(value, next(iter(second.values()))) for value in first.values()]
    else:
        pairs = [(first[seed], second[seed]) for seed in first if seed in second]
    return [own / theirs for own, theirs in pairs if own > 0 and theirs > 0]


def _values(suite: Measured, metric: str, line: Line) -> dict[Any, float]:
    if "by_seed" in line:
        return dict(line["by_seed"])
    values = {suite.seeds.get(step): suite.values.get((str(step), metric)) for step in line["steps"]}
    return {seed: value for seed, value in values.items() if value is not None}


def _of_items(suite: Measured, metric: str, one: Line, other: Line) -> tuple[Interval, str, int | None] | None:
    """Paired over the same items; of a transformed metric (perplexity) the difference of what lies below it."""
    plain = UNTRANSFORMED.get(metric, metric)
    frames = [suite.scores.scores(plain, line["steps"]) for line in (one, other)]
    if frames[0] is None or frames[1] is None:
        return None
    shared = frames[0].index.intersection(frames[1].index)
    first, second = frames[0].loc[shared], frames[1].loc[shared]
    if not len(shared):
        return None
    if plain != metric:
        gap = paired_difference(first["amount"].tolist(), second["amount"].tolist(), first["weight"].tolist())
        if gap is None or gap.low is None or gap.high is None:
            return None
        ends = [math.exp(value) for value in (gap.estimate, gap.low, gap.high)]
        return _with_training(Interval(ends[0], ends[1], ends[2], gap.n, "items"), suite, metric, one, other)
    found = ratio_of_means(
        (first["amount"].tolist(), first["weight"].tolist()), (second["amount"].tolist(), second["weight"].tolist())
    )
    return None if found is None else _with_training(found, suite, metric, one, other)


def _with_training(
    found: Interval, suite: Measured, metric: str, one: Line, other: Line
) -> tuple[Interval, str, int | None]:
    """An interval over items, made to hold the spread of training: Student's over three seeds, of two their ends."""
    basis = f"{found.n} items"
    seeds = _by_seed(suite, metric, one, other)
    if seeds is None or seeds.n < 2:
        return found, basis, None
    if seeds.n < FEWEST_PAIRS:
        ratios = _ratios(suite, metric, one, other)
        seeds = Interval(seeds.estimate, min(ratios), max(ratios), seeds.n, "seeds")
    return wider(found, seeds), f"{basis} and {seeds.n} seeds", None


def _wins(suite: Measured, one: Line, other: Line) -> tuple[Interval, str, int | None] | None:
    sides = [{suite.seeds.get(step): step for step in line["steps"]} for line in (one, other)]
    found = win_rate(scores_by_seed(suite.scores, "judge_reward", sides[0], sides[1]).values())
    if found is None or found.low is None or found.high is None:
        return None
    return Interval(2 * found.estimate, 2 * found.low, 2 * found.high, found.n, "items"), f"{found.n} prompts", None


def _told(
    suite: Measured, one: Line, other: Line | None, over: float, ratio: Interval, basis: str, pairs: int | None
) -> Evidence:
    parameters = [suite.values.get((str(step), "parameters")) for step in one["steps"]]
    known = [value for value in parameters if value is not None]
    precision = str(one["precision"])
    if other is not None and other["precision"] != one["precision"]:
        precision = f"{precision} over {other['precision']}"
    return Evidence(
        suite.suite, str(one["method"]), str(other["method"]) if other is not None else f"{over:g}",
        str(one["model"]), str(one["data"]), str(one["hardware"]), precision, ratio, basis, pairs,
        max(known, default=None), (*one["steps"], *(other["steps"] if other is not None else ())),
    )  # fmt: skip

