"""Alignment: what preferences made of a model, what that cost in three views, and how steady it was over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas

from harness.analyse.cells import CHAIN
from harness.analyse.curves import value_at
from harness.analyse.statistics import Interval, mean_interval
from harness.analyse.summary import Line
from harness.analyse.wins import win_rate
from harness.report.cells import difference_value, method_columns, method_values, metric_value, row_kind
from harness.report.content import Content
from harness.report.document import Block, Column, Figure, Paragraph, Row, Section, Table, Value
from harness.report.figures import reward_over_divergence
from harness.report.numbers import interval, plain, pretty
from harness.report.outcomes import FAILURES, Key, Outcome
from harness.report.results import set_title

LEARNS = ("reward_model", "dpo", "ppo")
JUDGE = "judge_reward"
ACCURACY = "preference_accuracy"
ON_VALIDATION = "validation_preference_accuracy"
WHAT = (
    "Answers are sampled for held-out prompts. The judge is a reward model that learnt from the other half of the "
    "pairs and is the same for every method; its own accuracy on held-out pairs says how far it can be believed. A "
    "win is an answer that the judge scores above that of the same chain before preferences (ties one half), at the "
    "same prompt and seed; its bracket is over prompts. The training reward is that of the reward model that a policy "
    "was trained against: where it rises and the judge's does not, the policy has learnt to please its reward model "
    "and nothing else. KL is from what the stage began with."
)
COSTS = (
    "The stages of a chain after those that it shares with the chain it is compared with, added up. Accuracy is on "
    "fixed validation pairs while training: implied by the policy for DPO, by the reward model for RLHF, whose later "
    "stage does not change it. It is read off the curves where the methods had seen equally many pairs, and where "
    "they had trained for equally many seconds (clock of the optimiser steps). Memory cannot be made equal by "
    "training longer or shorter: the largest peak of the stages stands beside."
)
STEADY = (
    "Over seeds. A run has diverged where it ended with numbers that are not finite, or failed. The clipped share is "
    "that of the tokens whose ratio of probabilities PPO held back."
)


def alignment(content: Content) -> Section | None:
    """The section, or None where nothing learnt from preferences."""
    blocks: list[Block] = []
    for number, which in enumerate(content.sets):
        here = _aligned(content, which)
        if here:
            drawn = _figure(content, here, number)
            blocks += [_quality(content, which, here), *([drawn] if drawn else []), _budgets(content, which, here)]
            blocks += [_spread(content, which, here)]
    if not blocks:
        return None
    notes = [Paragraph(text, "note") for text in (WHAT, COSTS, STEADY)]
    return Section("Alignment", [*notes, *blocks])


def alignment_in_words(content: Content) -> list[str]:
    """For each method that learnt from preferences: its wins, its KL, and what it cost."""
    said = []
    for which in content.sets:
        judge = _judge(content, _aligned(content, which))
        if judge is not None and judge.low is not None and judge.low <= 0.5:
            said.append(f"The judge orders {_in_words(judge)} of held-out pairs right: no better than a coin.")
        for one in _aligned(content, which):
            if _last(one) == "reward_model" or one.status != "done":
                continue
            won, before = _wins(content, one), _before(content, one)
            if won is None or before is None:
                continue
            cost = _cost(content, one)
            kl = _score(content, one, "kl_from_reference")
            unclear = won.low is not None and won.high is not None and won.low <= 0.5 <= won.high
            sure = ", which is no clear difference" if unclear else ""
            said.append(
                f"{one.key[0]}: the judge prefers its answers to those of {before.key[0]} at "
                f"{pretty(won.estimate, 'share', 3)} {interval(won.low, won.high, 'share')} of the prompts{sure}"
                f"{f', {plain(kl, 3)} nats of KL from them' if kl is not None else ''}; it took {cost.in_words()}."
            )
    return said


@dataclass(frozen=True)
class Cost:
    """What the stages that learn from preferences took together, means over seeds."""

    pairs: float
    episodes: float
    seconds: float
    peak: float
    generated: float
    trained: float
    stages: tuple[tuple[str, float], ...]

    def in_words(self) -> str:
        """Pairs, answers and seconds."""
        parts = [f"{plain(self.pairs)} pairs"] if self.pairs else []
        parts += [f"{plain(self.episodes)} answers of its own"] if self.episodes else []
        return f"{' and '.join(parts)} in {pretty(self.seconds, 's', 3)}"


def _aligned(content: Content, which: Key) -> list[Outcome]:
    """Groups with a stage that learnt from preferences."""
    return [one for one in content.groups(which) if any(name in LEARNS for name in _names(one))]


def _names(one: Outcome) -> list[str]:
    return [stage.partition("(")[0].partition(" + ")[0] for stage in str(one.key[0]).split(CHAIN)]


def _last(one: Outcome) -> str:
    return _names(one)[-1]


def _before(content: Content, one: Outcome) -> Outcome | None:
    """The same chain before its first stage that learnt from preferences: what its answers are compared with."""
    stages = str(one.key[0]).split(CHAIN)
    first = next(place for place, name in enumerate(_names(one)) if name in LEARNS)
    wanted = (CHAIN.join(stages[:first]) or "base", *one.key[1:])
    return next((other for other in content.outcomes if other.key == wanted and other.status == "done"), None)


def _line(content: Content, one: Outcome | None, metric: str) -> Line | None:
    if one is None:
        return None
    found = (content.score(one.key, task, metric) for task in content.tasks_with(metric))
    return next((line for line in found if line is not None), None)


def _score(content: Content, one: Outcome, metric: str) -> float | None:
    line = _line(content, one, metric)
    return None if line is None else float(line["value"])


def _wins(content: Content, one: Outcome) -> Interval | None:
    lines = [_line(content, other, JUDGE) for other in (one, _before(content, one))]
    if lines[0] is None or lines[1] is None:
        return None
    own, theirs = (_by_seed(content, line) for line in lines if line is not None)
    pairs = [
        (content.scores.scores(JUDGE, [own[seed]]), content.scores.scores(JUDGE, [theirs[seed]]))
        for seed in own if seed in theirs
    ]  # fmt: skip
    return win_rate((first, second) for first, second in pairs if first is not None and second is not None)


def _by_seed(content: Content, line: Line) -> dict[Any, str]:
    """The steps of a line by the seed of their cell; what does not depend on a seed stands for every one."""
    seeds = dict(zip(content.member["step"], content.member["seed"], strict=True))
    return {seeds[step]: step for step in line["steps"]}


def _quality(content: Content, which: Key, here: Sequence[Outcome]) -> Table:
    text = next(iter(content.tasks_with("bits_per_byte")), None)
    columns = [
        *method_columns(), Column("Preference accuracy", "held-out pairs"), Column("Judge's reward"),
        Column("Wins", "against the chain before"), Column("Training reward"), Column("KL", "nats per answer"),
        Column("Answers", "tokens, ended"), Column("Distinct", "pairs of tokens"),
        *([Column("Bits per byte", f"{text}, against the baseline")] if text else []),
    ]  # fmt: skip
    found = list(dict.fromkeys(one for aligned in here for one in (_before(content, aligned), aligned) if one))
    found.sort(key=content.outcomes.index)
    rows = [_quality_row(content, one, one in here, text) for one in found]
    judge = _judge(content, found)
    told = f" · the judge orders {_in_words(judge)} of held-out pairs right" if judge is not None else ""
    return Table(columns, rows, f"{set_title(which)}{told}")


def _judge(content: Content, found: Sequence[Outcome]) -> Interval | None:
    """How often the judge is right on held-out pairs, with its interval over them."""
    line = next((line for one in found if (line := _line(content, one, "judge_accuracy")) is not None), None)
    return None if line is None else content.scores.interval("judge_accuracy", line["steps"][:1])


def _in_words(share: Interval) -> str:
    return f"{pretty(share.estimate, 'share', 3)} {interval(share.low, share.high, 'share')}".strip()


def _quality_row(content: Content, one: Outcome, learnt: bool, text: str | None) -> Row:
    won = _wins(content, one) if learnt and _last(one) != "reward_model" else None
    ended, length = (_score(content, one, name) for name in ("ended_share", "answer_tokens"))
    task = next((task for task in content.tasks_with(ACCURACY) if content.score(one.key, task, ACCURACY)), None)
    line = content.score(one.key, task, ACCURACY) if task else None
    by = (content.observed(line["steps"], "preference") or {}).get("by", "") if line else ""
    accuracy = metric_value(line, marks=False)
    bits = content.score(one.key, text, "bits_per_byte") if text else None
    values = [
        *method_values(one), Value(accuracy.text, f"{accuracy.note} by {by}".strip() if by else accuracy.note),
        metric_value(_line(content, one, JUDGE), marks=False),
        Value() if won is None else Value(pretty(won.estimate, "share", 3), interval(won.low, won.high, "share")),
        metric_value(_line(content, one, "training_reward"), marks=False),
        metric_value(_line(content, one, "kl_from_reference"), digits=3, marks=False),
        Value(plain(length, 3), pretty(ended, "share", 3) if ended is not None else ""),
        metric_value(_line(content, one, "distinct_2"), digits=3, marks=False),
    ]  # fmt: skip
    if text:
        values.append(Value(metric_value(bits, marks=False).text, _signed(bits)))
    return Row(values, row_kind(content, one))


def _signed(line: Line | None) -> str:
    found = difference_value(line)
    return "" if line is None or line["difference"] is None else f"{found.text} {found.note}".strip()


def _cost(content: Content, one: Outcome) -> Cost:
    lines = {stage: found for stage, found in content.trained(one.key).items() if stage.partition("(")[0] in LEARNS}

    def total(name: str) -> float:
        return sum(float(found[name]["value"]) for found in lines.values() if name in found)

    seconds = tuple((stage.partition("(")[0], float(found["wall_seconds"]["value"])) for stage, found in lines.items())
    peaks = [float(found["peak_memory_bytes"]["value"]) for found in lines.values() if "peak_memory_bytes" in found]
    return Cost(
        total("preference_pairs_seen"), total("episodes"), sum(each for _, each in seconds), max(peaks, default=0.0),
        total("generated_training_tokens"), total("trained_answer_tokens"), seconds,
    )  # fmt: skip


Curves = list[list[tuple[float, float, float]]]
"""For each run its points: (pairs seen, seconds of training, accuracy)."""


def _curves(content: Content, one: Outcome) -> Curves:
    """Validation accuracy of the group's stage that learns from pairs, a curve per seed."""
    names = ("train_seconds", ON_VALIDATION)
    found: Curves = []
    for stage, lines in content.trained(one.key).items():
        if stage.partition("(")[0] not in LEARNS or "preference_pairs_seen" not in lines:
            continue
        each = lines["preference_pairs_seen"]["value"] / lines["optimizer_steps"]["value"]
        for step in lines["optimizer_steps"]["steps"]:
            rows = content.done[(content.done["step"] == step) & content.done["sample"].notna()]
            wide = rows[rows["metric"].isin(names) & (rows["phase"] == "")].astype({"metric": str})
            points = wide.pivot_table(index="sample", columns="metric", values="value").reindex(columns=list(names))
            points = points.dropna().sort_index()
            found.append([(float(at) * each, float(seconds), float(right))
                          for at, seconds, right in points.itertuples(name=None)])  # fmt: skip
    return [curve for curve in found if curve]


def _budgets(content: Content, which: Key, here: Sequence[Outcome]) -> Table:
    """What each method took, and how right it was at equally many pairs and at equally many seconds."""
    done = [one for one in here if one.status == "done"]
    curves = {one.key: _curves(content, one) for one in done}
    costs = {one.key: _cost(content, one) for one in done}
    every = [curve for found in curves.values() for curve in found]
    pairs, seconds = (min((curve[-1][axis] for curve in every), default=0.0) for axis in (0, 1))
    columns = [
        *method_columns(), Column("Pairs seen", "answers generated"),
        Column("Accuracy", f"after {plain(round(pairs))} pairs"), Column("Seconds", "of the stages, added up"),
        Column("Accuracy", f"after {pretty(seconds, 's', 3)}"), Column("Peak memory", "largest of the stages"),
        Column("Tokens", "generated, trained on"), Column("Time of PPO", "where it went"),
    ]  # fmt: skip
    rows = [_budget_row(content, one, costs[one.key], curves[one.key], pairs, seconds) for one in done]
    return Table(columns, rows, f"{set_title(which)} · three budgets")


def _budget_row(
    content: Content, one: Outcome, cost: Cost, curves: Curves, pairs: float, seconds: float
) -> Row:
    at_pairs = [_at(curve, 0, pairs) for curve in curves]
    at_seconds = [_at(curve, 1, seconds) for curve in curves]
    added = " + ".join(f"{name} {pretty(each, 's', 3)}" for name, each in cost.stages)
    tokens = Value(plain(cost.generated), plain(cost.trained)) if cost.generated else Value()
    return Row([
        *method_values(one), Value(plain(cost.pairs), plain(cost.episodes) if cost.episodes else ""),
        _share(at_pairs), Value(pretty(cost.seconds, "s", 3), added), _share(at_seconds),
        Value(pretty(cost.peak, "B", 3)), tokens, _parts(content, one),
    ], row_kind(content, one))  # fmt: skip


def _at(curve: Sequence[tuple[float, float, float]], axis: int, where: float) -> float | None:
    return value_at([(point[axis], point[2]) for point in curve], where)


def _share(values: Sequence[float | None]) -> Value:
    found = mean_interval([value for value in values if value is not None])
    return Value() if found is None else Value(
        pretty(found.estimate, "share", 3), interval(found.low, found.high, "share")
    )


def _parts(content: Content, one: Outcome) -> Value:
    """Shares of a PPO stage's time: writing answers, scoring them, and the steps of the optimiser."""
    if _last(one) != "ppo":
        return Value()
    steps = content.steps_of(one.key)
    names = ("generate", "reward", "reference", "rollout", "train")
    spans = {name: content.span_seconds(steps, [name]) for name in names}
    whole = sum(spans.values())
    if not whole:
        return Value()
    scoring = spans["reward"] + spans["reference"] + spans["rollout"]
    parts = ((spans["train"], "steps"), (spans["generate"], "generation"), (scoring, "scoring"))
    return Value(", ".join(f"{pretty(part / whole, 'share', 2)} {name}" for part, name in parts), kind="word")


def _spread(content: Content, which: Key, here: Sequence[Outcome]) -> Table:
    columns = [
        *method_columns(), Column("Seeds", "diverged"), Column("Judge's reward", "lowest to highest"),
        Column("Preference accuracy", "lowest to highest"), Column("KL", "lowest to highest"),
        Column("Clipped share", "lowest to highest"), Column("Loss", "first to last"),
    ]  # fmt: skip
    rows = []
    for one in here:
        lines = content.last_training(one.key)
        first, last = lines.get("train_loss_first"), lines.get("train_loss_last")
        rows.append(Row([
            *method_values(one), Value(str(one.seeds), _diverged(content, one)),
            *(_range(_line(content, one, name)) for name in (JUDGE, ACCURACY, "kl_from_reference")),
            _range(lines.get("clip_share")),
            Value(f"{plain(first['value'], 3)} to {plain(last['value'], 3)}") if first and last else Value(),
        ], row_kind(content, one)))  # fmt: skip
    return Table(columns, rows, f"{set_title(which)} · over seeds")


def _diverged(content: Content, one: Outcome) -> str:
    """How many of a group's own trainings did not end well."""
    stage = str(one.key[0]).split(CHAIN)[-1]
    told = content.rows[(content.rows["metric"] == "status") & (content.rows["operation"] == "train")]
    steps = set(content.member.loc[content.member["method"] == one.key[0], "step"])
    kept = told[told["step"].isin(steps) & (told["stage"].astype(str) == stage)]
    failed = int(kept["status"].astype(str).isin(FAILURES).sum())
    return f"{failed} of {len(kept)} diverged" if failed else "none diverged"


def _range(line: Line | None) -> Value:
    if line is None:
        return Value()
    low, high = (pretty(line[name], line["unit"], 3) for name in ("lowest", "highest"))
    return Value(low if low == high else f"{low} to {high}")


def _figure(content: Content, here: Sequence[Outcome], number: int) -> Figure | None:
    """Reward over KL: as PPO went, and where every method ended, by both rewards."""
    trained = pandas.DataFrame(_trajectories(content, here), columns=["method", "seed", "step", "kl", "reward"])
    ends = pandas.DataFrame(_ends(content, here), columns=["method", "by", "kl", "reward"])
    if trained.empty and ends.empty:
        return None
    return reward_over_divergence(
        trained, ends, f"reward-over-kl-{number + 1}",
        "Reward over KL from the reference. Left: as PPO trained, an update per point, by the reward model that it "
        "learnt from and TRL's estimate of KL, a line per seed. Right: held-out prompts at the end, a point per "
        "method and seed, above what the chain before preferences has: the judge beside the reward model that was "
        "learnt from.",
        content.methods,
    )  # fmt: skip


def _trajectories(content: Content, here: Sequence[Outcome]) -> Iterator[tuple[str, str, float, float, float]]:
    for one in here:
        for step in content.steps_of(one.key) if _last(one) == "ppo" else ():
            rows = content.done[(content.done["step"] == step) & content.done["sample"].notna()].astype({"metric": str})
            wide = rows.pivot_table(index="sample", columns="metric", values="value")
            if {"kl_from_reference", "training_reward"} <= set(wide):
                kept = wide.sort_index()[["kl_from_reference", "training_reward"]]
                for at, far, reward in kept.itertuples(name=None):
                    yield str(one.key[0]), step, float(at), float(far), float(reward)


def _ends(content: Content, here: Sequence[Outcome]) -> Iterator[tuple[str, str, float, float]]:
    for one in here:
        before = _before(content, one)
        divergence = _line(content, one, "kl_from_reference")
        if divergence is None:
            continue
        far = content.by_seed("kl_from_reference", divergence["steps"])
        for metric, by in ((JUDGE, "judge"), ("training_reward", "reward model")):
            own, theirs = _line(content, one, metric), _line(content, before, metric)
            if theirs is None and metric != JUDGE:
                theirs = _line(content, _rewarded(content, one), metric)
            if own is None or theirs is None:
                continue
            base = content.by_seed(metric, theirs["steps"])
            for seed, value in content.by_seed(metric, own["steps"]).items():
                if seed in far and seed in base:
                    yield str(one.key[0]), by, far[seed], value - base[seed]


def _rewarded(content: Content, one: Outcome) -> Outcome | None:
    """The chain up to its reward model, whose answers are those before PPO, scored by the same reward model."""
    stages = str(one.key[0]).split(CHAIN)
    wanted = (CHAIN.join(stages[:-1]), *one.key[1:])
    return next((other for other in content.outcomes if other.key == wanted and other.status == "done"), None)
