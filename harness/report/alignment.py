"""Alignment: what preferences made of a model, what that cost in three views, and how steady it was over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas

from harness.analyse.cells import CHAIN
from harness.analyse.statistics import Interval
from harness.analyse.summary import Line
from harness.analyse.wins import scores_by_seed, win_rate
from harness.report.alignment_costs import COSTS, STEADY, accuracy_ends, budgets, cost_of, spread
from harness.report.cells import difference_value, method_columns, method_values, metric_value, row_kind
from harness.report.content import Content
from harness.report.document import Block, Column, Figure, Paragraph, Row, Section, Table, Value
from harness.report.figures import reward_over_divergence
from harness.report.numbers import interval, plain, pretty
from harness.report.outcomes import Key, Outcome
from harness.report.preferences import (
    ACCURACY,
    JUDGE,
    aligned_groups,
    chain_before,
    last_technique,
    line_of,
    score_of,
    stages_of,
)
from harness.report.results import set_title

UPDATES_IN_A_POINT = 4
WHAT = (
    "Answers are sampled for held-out prompts. The judge is a reward model that learnt from the other half of the "
    "pairs and is the same for every method; its own accuracy on held-out pairs says how far it can be believed. A "
    "win is an answer that the judge scores above that of the same chain before preferences (ties one half), at the "
    "same prompt and seed; its bracket is the wider one of those over prompts and over seeds. Part of a win may be "
    "that an answer ends at all before it is cut: the wins among prompts where both end stand beside. The training "
    "reward is that of the reward model that a policy was trained against: where it rises and the judge's does not, "
    "the policy has learnt to please its reward model and nothing else. KL is from what the stage began with."
)


def alignment(content: Content) -> Section | None:
    """The section, or None where nothing learnt from preferences."""
    blocks: list[Block] = []
    for number, which in enumerate(content.sets):
        here = aligned_groups(content, which)
        if here:
            drawn = _figure(content, here, number)
            blocks += [_quality(content, which, here), *([drawn] if drawn else []), budgets(content, which, here)]
            blocks += [*_reward_models(content, which, here), spread(content, which, here)]
    if not blocks:
        return None
    notes = [Paragraph(text, "note") for text in (WHAT, COSTS, STEADY)]
    return Section("Alignment", [*notes, *blocks])


def alignment_in_words(content: Content) -> list[str]:
    """For each method that learnt from preferences: its wins, its KL, and what it cost."""
    said = []
    for which in content.sets:
        judge = _judge(content, aligned_groups(content, which))
        if judge is not None and judge.low is not None and judge.low <= 0.5:
            said.append(f"The judge orders {_in_words(judge)} of held-out pairs right: no better than a coin.")
        for one in aligned_groups(content, which):
            if last_technique(one) == "reward_model" or one.status != "done":
                continue
            won, before = _wins(content, one), chain_before(content, one)
            if won is None or before is None:
                continue
            cost = cost_of(content, one)
            kl = score_of(content, one, "kl_from_reference")
            ended = _wins(content, one, ended=True)
            of_ended = f"; where both answers end, at {_win_in_words(ended)}" if ended is not None else ""
            said.append(
                f"{one.key[0]}: the judge prefers its answers to those of {before.key[0]} at {_win_in_words(won)} of "
                f"the prompts{of_ended}{f'; {plain(kl, 3)} nats of KL from them' if kl is not None else ''}. It took "
                f"{cost.in_words()}."
            )
    return said


def _wins(content: Content, one: Outcome, *, ended: bool = False) -> Interval | None:
    """Wins against the chain before; ``ended``: among prompts where both answers ended before they were cut."""
    lines = [line_of(content, other, JUDGE) for other in (one, chain_before(content, one))]
    if lines[0] is None or lines[1] is None:
        return None
    own, theirs = (_by_seed(content, line) for line in lines if line is not None)
    pairs, lengths = (scores_by_seed(content.scores, metric, own, theirs) for metric in (JUDGE, "answer_tokens"))
    among = []
    for both in lengths.values():
        longest = max(float(length["amount"].max()) for length in both)
        short = [length.index[length["amount"] < longest] for length in both]
        among.append(short[0].intersection(short[1]))
    return win_rate(pairs.values(), among if ended else None)


def _by_seed(content: Content, line: Line) -> dict[Any, str]:
    """The steps of a line by the seed of their cell; what does not depend on a seed stands for every one."""
    seeds = dict(zip(content.member["step"], content.member["seed"], strict=True))
    return {seeds[step]: step for step in line["steps"]}


def _quality(content: Content, which: Key, here: Sequence[Outcome]) -> Table:
    text = next(iter(content.tasks_with("bits_per_byte")), None)
    columns = [
        *method_columns(), Column("Preference accuracy", "held-out pairs"), Column("Implied accuracy", "of the policy"),
        Column("Judge's reward"),
        Column("Wins", "against the chain before"), Column("Wins", "where both answers end"),
        Column("Training reward"), Column("KL", "nats per answer"),
        Column("Answers", "tokens, ended"), Column("Distinct", "pairs of tokens"),
        *([Column("Bits per byte", f"{text}, against the baseline")] if text else []),
    ]  # fmt: skip
    found = list(dict.fromkeys(one for learnt in here for one in (chain_before(content, learnt), learnt) if one))
    found.sort(key=content.outcomes.index)
    rows = [_quality_row(content, one, one in here, text) for one in found]
    judge = _judge(content, found)
    told = f" · the judge orders {_in_words(judge)} of held-out pairs right" if judge is not None else ""
    return Table(columns, rows, f"{set_title(which)}{told}")


def _reward_models(content: Content, which: Key, here: Sequence[Outcome]) -> list[Table]:
    """How good the reward models are by themselves, of the chains that end with one."""
    columns = [
        *method_columns(), Column("Preference accuracy", "held-out pairs"), Column("Margin", "preferred less other"),
        Column("Calibration error", "of sigmoid(|margin|)"), Column("Accuracy while training", "first to last"),
    ]  # fmt: skip
    rows = []
    for one in here:
        if last_technique(one) == "reward_model" and one.status == "done":
            found = (line_of(content, one, name) for name in (ACCURACY, "preference_margin"))
            error = metric_value(line_of(content, one, "preference_calibration_error"), digits=3, marks=False)
            values = [*method_values(one), *(metric_value(line, marks=False) for line in found), error]
            rows.append(Row([*values, accuracy_ends(content, one)], row_kind(content, one)))
    return [Table(columns, rows, f"{set_title(which)} · reward models")] if rows else []


def _win_in_words(won: Interval) -> str:
    unclear = won.low is not None and won.high is not None and won.low <= 0.5 <= won.high
    return f"{_in_words(won)}{' (no clear difference)' if unclear else ''}"


def _judge(content: Content, found: Sequence[Outcome]) -> Interval | None:
    """How often the judge is right on held-out pairs, with its interval over them."""
    line = next((line for one in found if (line := line_of(content, one, "judge_accuracy")) is not None), None)
    return None if line is None else content.scores.interval("judge_accuracy", line["steps"][:1])


def _in_words(share: Interval) -> str:
    return f"{pretty(share.estimate, 'share', 3)} {interval(share.low, share.high, 'share')}".strip()


def _quality_row(content: Content, one: Outcome, learnt: bool, text: str | None) -> Row:
    compared = learnt and last_technique(one) != "reward_model"
    won, ended_wins = (_wins(content, one, ended=which) if compared else None for which in (False, True))
    ended, length = (score_of(content, one, name) for name in ("ended_share", "answer_tokens"))
    task = next((task for task in content.tasks_with(ACCURACY) if content.score(one.key, task, ACCURACY)), None)
    line = content.score(one.key, task, ACCURACY) if task else None
    by = (content.observed(line["steps"], "preference") or {}).get("by", "") if line else ""
    accuracy = metric_value(line, marks=False)
    bits = content.score(one.key, text, "bits_per_byte") if text else None
    values = [
        *method_values(one), Value(accuracy.text, f"{accuracy.note} by {by}".strip() if by else accuracy.note),
        metric_value(line_of(content, one, "implied_preference_accuracy"), marks=False),
        metric_value(line_of(content, one, JUDGE), marks=False),
        *(Value() if each is None else Value(pretty(each.estimate, "share", 3), interval(each.low, each.high, "share"))
          for each in (won, ended_wins)),
        metric_value(line_of(content, one, "training_reward"), marks=False),
        metric_value(line_of(content, one, "kl_from_reference"), digits=3, marks=False),
        Value(plain(length, 3), pretty(ended, "share", 3) if ended is not None else ""),
        metric_value(line_of(content, one, "distinct_2"), digits=3, marks=False),
    ]  # fmt: skip
    if text:
        values.append(Value(metric_value(bits, marks=False).text, _signed(bits)))
    return Row(values, row_kind(content, one))


def _signed(line: Line | None) -> str:
    found = difference_value(line)
    return "" if line is None or line["difference"] is None else f"{found.text} {found.note}".strip()


def _figure(content: Content, here: Sequence[Outcome], number: int) -> Figure | None:
    """Reward over KL: as PPO went, and where every method ended, by both rewards."""
    trained = pandas.DataFrame(_trajectories(content, here), columns=["method", "seed", "step", "kl", "reward"])
    ends = pandas.DataFrame(_ends(content, here), columns=["method", "by", "kl", "reward"])
    if trained.empty and ends.empty:
        return None
    return reward_over_divergence(
        trained, ends, f"reward-over-kl-{number + 1}",
        "Reward over KL from the reference. Left: as PPO trained, the mean of four updates per point, by the reward "
        "model that it learnt from and TRL's estimate of KL, a line per seed. Right: held-out prompts at the end, a "
        "point per method and seed, above what the chain before preferences has: the judge beside the reward model "
        "that was learnt from.",
        content.methods,
    )  # fmt: skip


def _trajectories(content: Content, here: Sequence[Outcome]) -> Iterator[tuple[str, str, float, float, float]]:
    for one in here:
        for step in content.steps_of(one.key) if last_technique(one) == "ppo" else ():
            rows = content.done[(content.done["step"] == step) & content.done["sample"].notna()].astype({"metric": str})
            wide = rows.pivot_table(index="sample", columns="metric", values="value")
            if {"kl_from_reference", "training_reward"} <= set(wide):
                kept = wide.sort_index()[["kl_from_reference", "training_reward"]].dropna().reset_index()
                # A batch of answers is a noisy sample: means over a few updates show where the policy went.
                parts = kept.groupby([number // UPDATES_IN_A_POINT for number in range(len(kept))]).mean()
                for at, far, reward in parts.itertuples(index=False, name=None):
                    yield str(one.key[0]), step, float(at), float(far), float(reward)


def _ends(content: Content, here: Sequence[Outcome]) -> Iterator[tuple[str, str, float, float]]:
    for one in here:
        before = chain_before(content, one)
        divergence = line_of(content, one, "kl_from_reference")
        if divergence is None:
            continue
        far = content.by_seed("kl_from_reference", divergence["steps"])
        for metric, by in ((JUDGE, "judge"), ("training_reward", "reward model")):
            own, theirs = line_of(content, one, metric), line_of(content, before, metric)
            if theirs is None and metric != JUDGE:
                theirs = line_of(content, _rewarded(content, one), metric)
            if own is None or theirs is None:
                continue
            base = content.by_seed(metric, theirs["steps"])
            for seed, value in content.by_seed(metric, own["steps"]).items():
                if seed in far and seed in base:
                    yield str(one.key[0]), by, far[seed], value - base[seed]


def _rewarded(content: Content, one: Outcome) -> Outcome | None:
    """The chain up to its reward model, whose answers are those before PPO, scored by the same reward model."""
    wanted = (CHAIN.join(stages_of(str(one.key[0]))[:-1]), *one.key[1:])
    return next((other for other in content.outcomes if other.key == wanted and other.status == "done"), None)
