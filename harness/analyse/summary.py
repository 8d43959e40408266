"""One line per method, precision, task and metric: mean over seeds, interval, distance to the baseline, tied with best.

Between the rows and every table that is printed. Nothing here compares what did not run on the same model, data and
hardware.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import pandas

from harness.analyse.cells import GROUP, deciding, items_of_deciding, members, prefixes
from harness.analyse.item_scores import ItemScores
from harness.analyse.paired import UNTRANSFORMED, difference
from harness.analyse.statistics import LEVEL, Interval, bootstrap_median, mean_interval, t_quantile
from harness.errors import MethodError
from harness.metrics import metric as declared
from harness.plan.expression import parse

SET = ("model", "data", "hardware")
KEYS = (*GROUP, "operation", "stage", "task", "metric")
ROUND_TRIPS = "round_trip_share"
# Where a tokenizer that loses text is not comparable: it needs fewer tokens, and a model over it predicts less.
OF_TOKENIZERS = frozenset({"bytes_per_token", "fertility", "unknown_share", "byte_token_share", "vocabulary_use"})
OF_MODELS = frozenset({"bits_per_byte", "loss", "perplexity"})
Line = dict[str, Any]
COLUMNS = (
    *KEYS, "unit", "value", "low", "high", "interval", "seeds", "lowest", "highest", "samples",
    "difference", "difference_low", "difference_high", "p_value", "best", "tied", "equal", "steps", "by_seed",
)  # fmt: skip
TIMES = ("s", "token/s", "MB/s")  # units
FEWEST_SEEDS = 3  # of which an interval paired by seed says something
SAME = 1e-6  # of a value: what the last bits of float32 arithmetic in another order may make of it
LENGTH = "sequence_length"
NORMAL_WIDTH = 2 * 1.96  # standard errors from end to end of a 95 % interval
ASSUMED_NOISE = 0.1  # of a time, between runs of the same thing on a machine without a self-test


def summarize(
    frame: pandas.DataFrame,
    items: pandas.DataFrame,
    plan: Mapping[str, Any] | None = None,
    *,
    baseline: str | None = None,
    installation: str | None = None,
    scores: ItemScores | None = None,
    noise: Mapping[str, float] | None = None,
) -> pandas.DataFrame:
    """Summary of the deciding ``done`` records (columns: ``COLUMNS``); intervals at 95 %.

    ``interval`` says over what: ``seeds`` (t), ``items`` or ``repeats`` (bootstrap), or None. ``difference`` is this
    less the baseline, paired by item where there are items. ``best`` and ``tied`` are set among the methods of one
    model, data and hardware, for the metrics of tasks that have a better side; ``equal`` where the best value is that
    of several. ``scores``: those of ``items``, where they are looked up already. ``noise``: between runs of the same
    thing, as shares, by metric.
    """
    rows = deciding(frame, installation)
    rows = rows[rows["status"] == "done"]
    member = members(rows if not (plan or {}).get("cells") else frame, plan)
    values = scalars(rows, member)
    if values.empty:
        return pandas.DataFrame(columns=list(COLUMNS))
    baseline = baseline or (plan or {}).get("baseline")
    scores = scores or ItemScores(items_of_deciding(items, rows))
    samples = _samples(rows)
    lines = [_line(observed, scores, samples) for observed in _grouped(values)]
    lossy = {(line["method"], line["data"]) for line in lines if line["metric"] == ROUND_TRIPS and line["value"] < 1}
    read = _read(lines)
    for same in _comparable(lines):
        _against_baseline(same, baseline, scores)
        if not _read_unalike(same, read):
            _mark_best([line for line in same if not _loses_text(line, lossy)], scores, noise or {})
    return pandas.DataFrame(lines, columns=list(COLUMNS)).astype(dict.fromkeys(("tied", "best", "equal"), object))


def as_lines(table: pandas.DataFrame) -> list[Line]:
    """The summary's rows as mappings, None for every kind of missing value."""
    return [{str(name): plain_value(value) for name, value in line.items()} for line in table.to_dict("records")]


def plain_value(value: Any) -> Any:
    """None for every kind of missing value."""
    if value is None or isinstance(value, str | tuple | bool):
        return value
    return None if pandas.isna(value) else value


def scalars(rows: pandas.DataFrame, member: pandas.DataFrame) -> pandas.DataFrame:
    """Scalar values of steps with the coordinates of every cell that they belong to, each step once per group."""
    kept = rows[rows["sample"].isna() & (rows["phase"] == "") & (rows["metric"] != "status")]
    own = ["step", "operation", "stage", "task", "metric", "unit", "seed", "value"]
    kept = kept[own].astype(dict.fromkeys(own[:-1], object)).dropna(subset=["value"])
    joined = kept.merge(member[[*GROUP, "step"]].drop_duplicates(), on="step", how="inner")
    return joined.where(joined.notna(), None).astype({"value": float})


def baseline_of(same: list[Line], precision: str | None, baseline: str | None) -> Line | None:
    """The baseline's line at this precision, else at fp32, else at any."""
    found = [line for line in same if line["method"] == baseline]
    for wanted in (precision, "fp32"):
        exact = [line for line in found if line["precision"] == wanted]
        if exact:
            return exact[0]
    return found[0] if found else None


def _comparable(lines: list[Line]) -> list[list[Line]]:
    """Lines of tasks that may be compared with each other: one metric on the same model, data and hardware."""
    sets: defaultdict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        if line["operation"] == "eval":
            sets[tuple(line[name] for name in (*SET, "task", "metric"))].append(line)
    return list(sets.values())


@dataclass(frozen=True)
class _Observed:
    """What the steps (seeds) of one group say of one metric: its coordinates (``KEYS``), unit, and values by step."""

    named: Line
    unit: Any
    steps: list[str]
    seeds: list[Any]
    values: list[float]


def _grouped(values: pandas.DataFrame) -> Iterator[_Observed]:
    """The groups in the order of their coordinates; a frame for each would cost more than all that is done with it."""
    numbers = values.groupby(list(KEYS), dropna=False, sort=True).ngroup().to_numpy()
    order = numpy.argsort(numbers, kind="stable")
    columns = {name: values[name].to_numpy(dtype=object)[order] for name in (*KEYS, "unit", "step", "seed", "value")}
    begins = numpy.flatnonzero(numpy.diff(numbers[order], prepend=-1))
    for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
        named = {name: plain_value(columns[name][begin]) for name in KEYS}
        of = slice(begin, end)
        steps, seeds, found = (columns[name][of].tolist() for name in ("step", "seed", "value"))
        yield _Observed(named, columns["unit"][begin], steps, seeds, found)


def _line(observed: _Observed, scores: ItemScores, samples: Any) -> Line:
    named, steps, values = observed.named, observed.steps, observed.values
    found = mean_interval(values)
    assert found is not None
    repeats = [value for step in steps for value in samples.get((step, named["metric"]), ())]
    if len(values) == 1:
        found = _within(found, scores.interval(named["metric"], steps) or bootstrap_median(repeats))
    low, high, of = found.low, found.high, declared(named["metric"])
    if low is not None and high is not None:  # few seeds make Student's interval reach where no such number can be
        low = max(low, 0.0) if not of.signed and min(values) >= 0 else low
        high = high if of.most is None else min(high, of.most)
    return {
        **named, "unit": observed.unit, "value": found.estimate, "low": low, "high": high,
        "interval": found.kind if found.low is not None else None, "seeds": len(values), "lowest": min(values),
        "highest": max(values), "samples": len(repeats), "difference": None, "difference_low": None,
        "difference_high": None, "p_value": None, "best": None, "tied": None, "equal": None, "steps": tuple(steps),
        "by_seed": tuple(zip(observed.seeds, values, strict=True)),
    }  # fmt: skip


def _within(single: Interval, inner: Interval | None) -> Interval:
    """The recorded value with the interval inside the one run, where that says something about this value."""
    if inner is None or inner.low is None or inner.high is None or not inner.low <= single.estimate <= inner.high:
        return single
    return Interval(single.estimate, inner.low, inner.high, inner.n, inner.kind)


def _samples(rows: pandas.DataFrame) -> dict[tuple[str, str], list[float]]:
    kept = rows[rows["sample"].notna() & (rows["operation"] == "eval")][["step", "metric", "value"]].dropna()
    kept = kept.astype({"step": str, "metric": str})
    return {(str(key[0]), str(key[1])): group.tolist() for key, group in kept.groupby(["step", "metric"])["value"]}


def _loses_text(line: Line, lossy: set[tuple[str, Any]]) -> bool:
    """Whether a tokenizer was seen to lose text of the same data: its and its model's scores are best of nothing."""
    if not lossy or line["metric"] not in OF_TOKENIZERS | OF_MODELS:
        return False
    chain = prefixes(line["method"])
    return any((part, line["data"]) in lossy for part in (chain[-1:] if line["metric"] in OF_TOKENIZERS else chain))


def _read(lines: list[Line]) -> dict[tuple[Any, ...], float]:
    """Tokens that the stages of each group read in training, together."""
    read: defaultdict[tuple[Any, ...], float] = defaultdict(float)
    for line in lines:
        if line["operation"] == "train" and line["metric"] == "train_tokens":
            read[tuple(line[name] for name in GROUP)] += line["value"]
    return read


def _read_unalike(same: list[Line], read: Mapping[tuple[Any, ...], float]) -> bool:
    """Whether methods that differ in the length of their sequences alone read unequally much: nobody's score is best.

    What a model takes in use is not of that kind.
    """
    if same[0]["unit"] in (*TIMES, "B"):
        return False
    tokens: defaultdict[tuple[Any, ...], set[float]] = defaultdict(set)
    for line in same:
        found = read.get(tuple(line[name] for name in GROUP))
        if found is not None:
            tokens[_without_length(str(line["method"])), line["precision"]].add(found)
    return any(len(found) > 1 for found in tokens.values())


def _without_length(method: str) -> str:
    """The chain whatever the length of its sequences."""
    if LENGTH not in method:
        return method
    try:
        return str(parse(method).without((LENGTH,)))
    except MethodError:
        return method


def _against_baseline(same: list[Line], baseline: str | None, scores: ItemScores) -> None:
    for line in same:
        reference = baseline_of(same, line["precision"], baseline)
        if reference is None or reference["steps"] == line["steps"]:
            continue
        found, p_value = compare(line, reference, scores)
        line |= {"difference": found.estimate, "difference_low": found.low, "difference_high": found.high}
        line["p_value"] = p_value


def _mark_best(same: list[Line], scores: ItemScores, noise: Mapping[str, float]) -> None:
    if len(same) < 2 or declared(same[0]["metric"]).direction == "none":
        return
    choose = min if declared(same[0]["metric"]).direction == "lower" else max
    best = choose(same, key=lambda line: line["value"])
    several, spread = sum(is_same(line, best) for line in same) > 1, spread_of_seeds(same)
    for line in same:
        line["best"], line["equal"] = line is best, several and is_same(line, best)
        line["tied"] = is_same(line, best) or within_noise(line, best, noise) or is_tied(line, best, scores, spread)


def is_same(line: Line, best: Line) -> bool:
    """Whether two values are one number, but for the last bits of the arithmetic."""
    return math.isclose(line["value"], best["value"], rel_tol=SAME)


@dataclass(frozen=True)
class Spread:
    """Standard deviation between the seeds of one method, of several methods together, and its degrees of freedom."""

    deviation: float
    freedom: int


def spread_of_seeds(lines: Sequence[Line]) -> Spread | None:
    """What a seed changes, over all methods that have several; None of times, where runs differ and not seeds."""
    within = [[value - line["value"] for _, value in line["by_seed"]] for line in lines if line["seeds"] > 1]
    freedom = sum(len(values) - 1 for values in within)
    if not freedom or lines[0]["unit"] in TIMES:
        return None
    return Spread(math.sqrt(sum(value**2 for values in within for value in values) / freedom), freedom)


def within_spread(line: Line, best: Line, spread: Spread | None) -> bool:
    """Whether too few seeds for a pairing differ by no more than seeds of one method may (95 %).

    Two values alone tell their spread so badly that nothing could be told apart by them; all methods of a comparison
    together do better, where a seed changes each about as much. What nothing random entered has no such error.
    """
    if spread is None or _paired(line, best) is not None:
        return False
    random = [1 / one["seeds"] for one in (line, best) if one["by_seed"][0][0] is not None]
    allowed = t_quantile(LEVEL, spread.freedom) * spread.deviation * math.sqrt(sum(random))
    return bool(random) and abs(line["value"] - best["value"]) <= allowed


def compare(first: Line, second: Line, scores: ItemScores) -> tuple[Interval, float | None]:
    """first - second: paired by item where both have items, else the plain difference without an interval."""
    one, other = (scores.scores(line["metric"], line["steps"]) for line in (first, second))
    if one is not None and other is not None:
        found, p_value = difference(first["metric"], one, other)
        if found is not None:
            return found, p_value
    return Interval(first["value"] - second["value"], None, None, 1, "seeds"), None


def chance_of_no_difference(line: Line) -> float | None:
    """Two-sided p-value of a line's difference from the baseline: McNemar's where there is one, else by its interval.

    By the interval: of a normal distribution as wide. None where there is neither.
    """
    if line["p_value"] is not None or line["difference_low"] is None:
        return None if line["p_value"] is None else float(line["p_value"])
    width = line["difference_high"] - line["difference_low"]
    return math.erfc(NORMAL_WIDTH * abs(line["difference"]) / width / math.sqrt(2)) if width > 0 else None


def within_noise(line: Line, best: Line, noise: Mapping[str, float]) -> bool:
    """Whether two times of too few runs for a pairing differ by no more than two runs of the same thing may.

    The repeats inside a run say nothing of what differs from process to process. ``noise`` does, the largest of the
    machine where it has no such metric; ``ASSUMED_NOISE`` stands for it where nothing was measured.
    """
    if line["unit"] not in TIMES or min(line["value"], best["value"]) <= 0 or _paired(line, best) is not None:
        return False
    share = noise.get(line["metric"], max(noise.values(), default=ASSUMED_NOISE))
    allowed = 2 * share * math.sqrt(1 / line["seeds"] + 1 / best["seeds"])
    return abs(math.log(line["value"] / best["value"])) <= allowed


def is_tied(line: Line, best: Line, scores: ItemScores, spread: Spread | None = None) -> bool:
    """Whether the difference to the best cannot be told from none.

    Paired interval over items contains 0. In any case runs whose seeds do not differ are tied: the interval of the
    difference paired by seed contains 0, or, of fewer than ``FEWEST_SEEDS``, they overlap from lowest to highest or
    differ by no more than the ``spread`` of seeds.
    Without items such a pairing decides, else whether the intervals overlap; without any only the same value is tied.
    """
    paired = _paired(line, best)
    if (paired is not None and paired.contains(0.0)) or within_spread(line, best, spread):
        return True
    if paired is None and min(line["seeds"], best["seeds"]) > 1 and _overlap(line, best, "lowest", "highest"):
        return True
    metric = str(UNTRANSFORMED.get(line["metric"], line["metric"]))
    one, other = (scores.scores(metric, entry["steps"]) for entry in (line, best))
    if one is not None and other is not None:
        found, _ = difference(metric, one, other)
        if found is not None and found.low is not None:
            return bool(found.contains(0.0))
    if paired is not None:
        return False
    if line["low"] is not None and best["low"] is not None:
        return _overlap(line, best, "low", "high")
    return bool(line["value"] == best["value"])


def _paired(line: Line, best: Line) -> Interval | None:
    """The difference paired by seed; None where both have fewer than ``FEWEST_SEEDS`` in common."""
    of_best = dict(best["by_seed"])
    differences = [value - of_best[seed] for seed, value in line["by_seed"] if seed in of_best]
    return mean_interval(differences) if len(differences) >= FEWEST_SEEDS else None


def _overlap(first: Line, second: Line, low: str, high: str) -> bool:
    return bool(first[low] <= second[high] and second[low] <= first[high])
