"""What was measured of serving: generation at several batches or prompt lengths, and adapters before and after merging.

Sections and sentences are made from this; nothing here is words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.analyse.cells import CHAIN
from harness.analyse.scaling import ratio_of_medians
from harness.analyse.statistics import Interval
from harness.contract import defaults
from harness.plan.expression import parse_call
from harness.report.content import Content
from harness.report.outcomes import Key, Outcome
from harness.tasks.generation_speed import GenerationSpeed

TASK = "generation_speed"
KEPT, PER_TOKEN, EXPECTED = "key_value_bytes", "key_value_bytes_per_token", "expected_key_value_bytes"
DECODE, FIRST, BETWEEN = "decode_tokens_per_second", "time_to_first_token_seconds", "inter_token_latency_seconds"
PEAK = "peak_memory_rise_bytes"
MERGE = "merge"


@dataclass(frozen=True)
class Load:
    """One task: so many prompts at once, of so many tokens, for each of which so many new ones are generated."""

    task: str
    batch: int
    prompt: int
    new: int

    @property
    def read(self) -> int:
        """Tokens of one request that have keys and values when it is over."""
        return self.prompt + self.new - 1


@dataclass(frozen=True)
class Series:
    """Loads of one set (model, data, hardware) that differ in one thing, ascending, and the groups that have them."""

    which: Key
    loads: tuple[Load, ...]
    groups: tuple[Outcome, ...]


@dataclass(frozen=True)
class Pair:
    """A group whose method ends in ``merge``, and the one with the adapters unmerged."""

    merged: Outcome
    unmerged: Outcome


def by_batch(content: Content) -> list[Series]:
    """Series of batches of prompts of one length, two batches or more."""
    return list(_series(content, lambda load: (load.prompt, load.new), lambda load: load.batch))


def by_length(content: Content) -> list[Series]:
    """Series of prompt lengths at one batch, two lengths or more."""
    return list(_series(content, lambda load: (load.batch, load.new), lambda load: load.prompt))


def merges(content: Content) -> list[Pair]:
    """Merged methods whose unmerged form was measured too, at the same precision."""
    groups = {outcome.key: outcome for outcome in content.outcomes}
    found = []
    for key, outcome in groups.items():
        before, _, last = str(key[0]).rpartition(CHAIN)
        if last == MERGE and (before, *key[1:]) in groups:
            found.append(Pair(outcome, groups[before, *key[1:]]))
    return found


def number(content: Content, outcome: Outcome, load: Load, metric: str) -> float | None:
    """A metric of a group at a load, where it was measured."""
    line = content.score(outcome.key, load.task, metric)
    return None if line is None else float(line["value"])


def samples(content: Content, outcome: Outcome, load: Load, metric: str) -> list[float]:
    """The raw samples behind it."""
    line = content.score(outcome.key, load.task, metric)
    return [] if line is None else content.samples(metric, line["steps"])


def ends(content: Content, outcome: Outcome, series: Series) -> tuple[Load, Load]:
    """The first and the last load of a series at which a group was measured."""
    has = [load for load in series.loads if number(content, outcome, load, DECODE) is not None]
    return has[0], has[-1]


def further_request(content: Content, outcome: Outcome, series: Series) -> float | None:
    """Bytes of the peak that one more request takes, from the smallest to the largest batch; None for one batch."""
    first, last = ends(content, outcome, series)
    low, high = (number(content, outcome, load, PEAK) for load in (first, last))
    if low is None or high is None or first.batch == last.batch:
        return None
    return (high - low) / (last.batch - first.batch)


def speed_up(content: Content, pair: Pair, load: Load) -> Interval | None:
    """Decoded tokens per second of the merged over the unmerged, by a bootstrap over the repeats of both."""
    merged, unmerged = (samples(content, one, load, DECODE) for one in (pair.merged, pair.unmerged))
    return ratio_of_medians(merged, unmerged)


def fastest(content: Content, outcome: Outcome, series: Series) -> Load | None:
    """The load at which a group decodes most tokens per second."""
    found = [(rate, load) for load in series.loads if (rate := number(content, outcome, load, DECODE)) is not None]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def loads_of(content: Content) -> list[Load]:
    """Loads of the suite's generation tasks of which some runtime said what it kept."""
    told = set(content.tasks_with(KEPT))
    return [_load(task) for task in content.tasks_named(TASK) if task in told]


def _series(
    content: Content, same: Callable[[Load], tuple[int, int]], grows: Callable[[Load], int]
) -> Iterator[Series]:
    loads = loads_of(content)
    for which in content.sets:
        together: dict[tuple[int, int], list[Load]] = {}
        for load in loads:
            if any(number(content, outcome, load, DECODE) is not None for outcome in content.groups(which)):
                together.setdefault(same(load), []).append(load)
        for found in together.values():
            if len({grows(load) for load in found}) > 1:
                has = [outcome for outcome in content.groups(which)
                       if any(number(content, outcome, load, DECODE) is not None for load in found)]  # fmt: skip
                yield Series(which, tuple(sorted(found, key=grows)), tuple(has))


def _load(task: str) -> Load:
    given = {**defaults(GenerationSpeed.Params), **dict(parse_call(task).params)}
    return Load(task, int(given["batch"]), int(given["prompt_tokens"]), int(given["new_tokens"]))
